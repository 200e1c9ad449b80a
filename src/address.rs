//! Socket addresses of the families that the crate speaks.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The address of a socket: IPv4, IPv6 with its scope, or Unix.
///
/// As text it is what a user types and what a log shows:
///
/// | text | address |
/// | --- | --- |
/// | `127.0.0.1:8080` | IPv4 |
/// | `[::1]:8080`, `[fe80::1%2]:8080`, `[fe80::1%eth0]:8080` | IPv6, with a scope by number or interface |
/// | `/run/daemon.sock`, `./sock`, `unix:sock` | a Unix socket in the file system |
/// | `@name` | a Unix socket in the abstract name space (Linux) |
///
/// ```
/// use fdloop::Address;
///
/// let address: Address = "[::1]:80".parse()?;
/// assert_eq!(address.port(), Some(80));
/// let address: Address = "/run/daemon.sock".parse()?;
/// assert_eq!(address.to_string(), "/run/daemon.sock");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address with a port.
    Inet(SocketAddr),
    /// A Unix socket bound to a path in the file system.
    Path(PathBuf),
    /// A Unix socket bound to a name outside the file system, without the
    /// leading zero byte that the system call takes. Linux only.
    Abstract(Vec<u8>),
    /// A Unix socket that has no name: one of a pair, or a client that bound none.
    Unnamed,
}

impl Address {
    /// The port, of an IPv4 or IPv6 address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            _ => None,
        }
    }

    /// The family, which a socket for this address must have.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Inet(SocketAddr::V4(_)) => Family::Inet,
            Self::Inet(SocketAddr::V6(_)) => Family::Inet6,
            Self::Path(_) | Self::Abstract(_) | Self::Unnamed => Family::Unix,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            // Without a slash, or as a name of another kind, it would not be read as a
            // path again.
            Self::Path(path) if is_plain_path(path.as_os_str().as_bytes()) => path.display().fmt(f),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Self::Unnamed => f.write_str("(unnamed)"),
        }
    }
}

fn is_plain_path(path: &[u8]) -> bool {
    path.contains(&b'/') && !path.starts_with(b"@") && !path.starts_with(b"unix:")
}

/// The address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// IPv4, `AF_INET`.
    Inet,
    /// IPv6, `AF_INET6`.
    Inet6,
    /// Unix domain, `AF_UNIX`.
    Unix,
}

impl FromStr for Address {
    type Err = io::Error;

    /// Parses an address without asking a resolver; for host names see
    /// [`ToAddresses`].
    ///
    /// # Errors
    ///
    /// `InvalidInput`, saying what forms there are.
    fn from_str(text: &str) -> io::Result<Self> {
        parse(text)?.ok_or_else(|| no_address(text, ""))
    }
}

/// The address that `text` spells, if it has the form of one.
fn parse(text: &str) -> io::Result<Option<Address>> {
    if let Some(address) = parse_unix(text)? {
        return Ok(Some(address));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Some(Address::Inet(address)));
    }
    Ok(parse_scoped(text)?.map(Address::Inet))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// What is wrong with `text`: its port, or that it has none of the forms there
/// are, and `also`.
fn no_address(text: &str, also: &str) -> io::Error {
    if let Some((host, port)) = text.rsplit_once(':')
        && !host.is_empty()
        && host.starts_with('[') == host.ends_with(']')
        && port.parse::<u16>().is_err()
    {
        return invalid(format!(
            "{text:?} is no address: the port must be a number from 0 to 65535"
        ));
    }
    invalid(format!(
        "{text:?} is no address: expected {also}IPV4:PORT, [IPV6]:PORT, [IPV6%SCOPE]:PORT, \
         a path with a slash, unix:PATH or @NAME"
    ))
}

/// The Unix address that `text` spells, if it has that form.
fn parse_unix(text: &str) -> io::Result<Option<Address>> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(invalid("unix: needs a path behind it".into()));
        }
        return Ok(Some(Address::Path(path.into())));
    }
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Some(Address::Abstract(name.as_bytes().to_vec())));
    }
    Ok(text.contains('/').then(|| Address::Path(text.into())))
}

/// `[fe80::1%eth0]:80`, whose scope names an interface. (The standard library
/// knows scopes only as numbers.)
fn parse_scoped(text: &str) -> io::Result<Option<SocketAddr>> {
    let Some((address, port)) = text.strip_prefix('[').and_then(|t| t.split_once("]:")) else {
        return Ok(None);
    };
    let Some((ip, scope)) = address.split_once('%') else {
        return Ok(None);
    };
    let (Ok(ip), Ok(port)) = (ip.parse::<Ipv6Addr>(), port.parse::<u16>()) else {
        return Ok(None);
    };
    let scope = nix::net::if_::if_nametoindex(scope)
        .map_err(|errno| invalid(format!("no interface {scope:?}, as in {text:?}: {errno}")))?;
    Ok(Some(SocketAddrV6::new(ip, port, 0, scope).into()))
}

/// What can be turned into addresses to connect to or to listen on: the
/// counterpart of the standard library's [`ToSocketAddrs`], with Unix addresses.
///
/// Text is first read as an [`Address`]; what is not one is taken for
/// `HOST:PORT` and resolved, which may give several addresses, and blocks for as
/// long as the system's resolver does. Programs that cannot wait resolve
/// elsewhere and pass the addresses.
///
/// ```
/// use fdloop::{Address, ToAddresses};
///
/// let addresses = ("localhost", 80).to_addresses()?;
/// assert!(addresses.iter().all(|address| address.port() == Some(80)));
/// assert_eq!("./sock".to_addresses()?, [Address::Path("./sock".into())]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToAddresses {
    /// The addresses, in the order in which they should be tried.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is not an address at all; what the resolver
    /// answers, or `NotFound` if it knows no address.
    fn to_addresses(&self) -> io::Result<Vec<Address>>;
}

/// Resolves `target`, naming it in the error as `shown`.
fn resolve(target: impl ToSocketAddrs, shown: &dyn fmt::Display) -> io::Result<Vec<Address>> {
    let addresses: Vec<Address> = target
        .to_socket_addrs()
        .map_err(|e| io::Error::new(e.kind(), format!("cannot resolve {shown}: {e}")))?
        .map(Address::Inet)
        .collect();
    if addresses.is_empty() {
        let message = format!("cannot resolve {shown}: the resolver knows no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(addresses)
}

impl ToAddresses for str {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        if let Some(address) = parse(self)? {
            return Ok(vec![address]);
        }
        match self.rsplit_once(':') {
            // What has brackets is an address gone wrong, not a host name.
            Some((host, port))
                if !host.is_empty() && !host.starts_with('[') && port.parse::<u16>().is_ok() =>
            {
                resolve(self, &self)
            }
            _ => Err(no_address(self, "HOST:PORT, ")),
        }
    }
}

impl ToAddresses for String {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        self.as_str().to_addresses()
    }
}

impl ToAddresses for (&str, u16) {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        resolve(*self, &format_args!("{}:{}", self.0, self.1))
    }
}

impl ToAddresses for Path {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        Ok(vec![Address::Path(self.to_owned())])
    }
}

impl ToAddresses for PathBuf {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        self.as_path().to_addresses()
    }
}

impl ToAddresses for [Address] {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        Ok(self.to_vec())
    }
}

impl ToAddresses for Vec<Address> {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        Ok(self.clone())
    }
}

impl<T: ToAddresses + ?Sized> ToAddresses for &T {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        (**self).to_addresses()
    }
}

/// Types that are one address each.
macro_rules! one_address {
    ($($type:ty),+) => {$(
        impl From<$type> for Address {
            fn from(address: $type) -> Self {
                Self::Inet(address.into())
            }
        }

        impl ToAddresses for $type {
            fn to_addresses(&self) -> io::Result<Vec<Address>> {
                Ok(vec![Address::from(*self)])
            }
        }
    )+};
}

one_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl ToAddresses for Address {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        Ok(vec![self.clone()])
    }
}

impl From<std::os::unix::net::SocketAddr> for Address {
    fn from(address: std::os::unix::net::SocketAddr) -> Self {
        if let Some(path) = address.as_pathname() {
            return Self::Path(path.to_owned());
        }
        #[cfg(has_abstract_addresses)]
        {
            #[cfg(target_os = "android")]
            use std::os::android::net::SocketAddrExt;
            #[cfg(target_os = "linux")]
            use std::os::linux::net::SocketAddrExt;
            if let Some(name) = address.as_abstract_name() {
                return Self::Abstract(name.to_owned());
            }
        }
        Self::Unnamed
    }
}

impl From<&OsStr> for Address {
    /// A path, or an abstract name behind a zero byte, as the system call has it.
    fn from(path: &OsStr) -> Self {
        match path.as_bytes() {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            _ => Self::Path(path.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_alike() {
        for text in [
            "1.2.3.4:5",
            "[::1]:80",
            "[fe80::1%7]:80",
            "/run/s",
            "unix:s",
            "@name",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let path: Address = "unix:s".parse().unwrap();
        assert_eq!(path, Address::Path("s".into()));
        assert_eq!(Address::Unnamed.to_string(), "(unnamed)");
    }

    #[test]
    fn a_path_is_read_as_that_path_again_whatever_it_looks_like() {
        for path in ["a/b", "plain", "@a/b", "unix:a/b", "127.0.0.1:80"] {
            let address = Address::Path(path.into());
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
    }

    #[test]
    fn a_scope_may_be_an_interface_name() {
        let name = ["lo", "lo0"]
            .into_iter()
            .find(|name| nix::net::if_::if_nametoindex(*name).is_ok());
        let Some(name) = name else { return };
        let address: Address = format!("[fe80::1%{name}]:80").parse().unwrap();
        let index = nix::net::if_::if_nametoindex(name).unwrap();
        assert_eq!(address.to_string(), format!("[fe80::1%{index}]:80"));
        let error = "[fe80::1%no-such]:80".parse::<Address>().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("no-such"), "{error}");
    }

    #[test]
    fn nonsense_is_refused_with_the_forms_there_are() {
        for text in [
            "",
            "nonsense",
            "1.2.3.4",
            "[::1",
            "[::1]:99999",
            ":80",
            "unix:",
        ] {
            let error = text.to_addresses().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text:?}");
        }
    }

    #[test]
    fn a_host_name_is_offered_where_one_is_resolved() {
        let offered = |error: io::Error| error.to_string().contains("expected HOST:PORT, IPV4:");
        assert!(offered("nonsense".to_addresses().unwrap_err()));
        assert!(!offered("nonsense".parse::<Address>().unwrap_err()));
    }

    #[test]
    fn a_port_that_is_none_is_what_is_wrong() {
        for text in [
            "127.0.0.1:80999",
            "127.0.0.1:",
            "localhost:-1",
            "localhost:http",
            "[::1]:99999",
        ] {
            for error in [
                text.to_addresses().unwrap_err(),
                text.parse::<Address>().unwrap_err(),
            ] {
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text:?}");
                let expected = "is no address: the port must be a number from 0 to 65535";
                assert_eq!(error.to_string(), format!("{text:?} {expected}"));
            }
        }
        // Not in these: they have no port.
        for text in ["[::1]", "[::1", ":80", "localhost"] {
            let error = text.to_addresses().unwrap_err().to_string();
            assert!(error.contains("expected HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_host_name_is_resolved() {
        let addresses = "localhost:80".to_addresses().unwrap();
        assert!(addresses.iter().all(|a| a.port() == Some(80)));
        assert!(!addresses.is_empty());
        assert!("no-such-host.invalid:80".to_addresses().is_err());
    }
}
