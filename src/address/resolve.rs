//! Types that are accepted as addresses: text with host names, and the standard library's
//! types.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::Address;
use super::parse::parse_unless_name;
use crate::error::Result;

/// Types that can be turned into addresses to connect to or to listen on: the counterpart of the
/// standard library's [`ToSocketAddrs`], with Unix addresses.
///
/// Text is first parsed as an [`Address`]. Any other `HOST:PORT` is resolved, which may return
/// several addresses and blocks for as long as the system's resolver does. Programs that cannot
/// wait use a [`Resolver`](crate::Resolver).
///
/// ```
/// use fdloop::{Address, ToAddresses};
///
/// let addresses = ("localhost", 80).to_addresses()?;
/// assert!(addresses.iter().all(|address| address.port() == Some(80)));
/// assert_eq!("./sock".to_addresses()?, [Address::Path("./sock".into())]);
/// # Ok::<(), fdloop::Error>(())
/// ```
pub trait ToAddresses {
    /// Returns the addresses, in the order in which they should be tried.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the text is not an address, with a message that says what to write
    /// instead; the resolver's error; `NotFound` if the resolver finds no address.
    fn to_addresses(&self) -> Result<Vec<Address>>;
}

/// Resolves `target`, which is `text` in an error.
fn resolve(target: impl ToSocketAddrs, text: &str) -> Result<Vec<Address>> {
    let addresses: Vec<SocketAddr> = target
        .to_socket_addrs()
        .map_err(|e| io::Error::new(e.kind(), format!("cannot resolve {text:?}: {e}")))?
        .collect();
    if addresses.is_empty() {
        let message = format!("cannot resolve {text:?}: the resolver found no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, message).into());
    }
    Ok(interleaved(addresses))
}

/// Returns the addresses in the order in which RFC 8305 (section 4) tries them: both families by
/// turns, so that a network without one of them costs one attempt. The resolver has put the family
/// first that the system prefers (RFC 6724), which is IPv6 where it can be used.
pub(super) fn interleaved(addresses: Vec<SocketAddr>) -> Vec<Address> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|it| it.is_ipv6() == first);
    let mut other = other.into_iter();
    let mut all = Vec::new();
    for address in preferred {
        all.push(address);
        all.extend(other.next());
    }
    all.extend(other);
    all.into_iter().map(Address::Inet).collect()
}

impl ToAddresses for str {
    fn to_addresses(&self) -> Result<Vec<Address>> {
        match parse_unless_name(self)? {
            Some(address) => Ok(vec![address]),
            None => resolve(self, self),
        }
    }
}

impl ToAddresses for String {
    fn to_addresses(&self) -> Result<Vec<Address>> {
        self.as_str().to_addresses()
    }
}

impl ToAddresses for (&str, u16) {
    fn to_addresses(&self) -> Result<Vec<Address>> {
        resolve(*self, &format!("{}:{}", self.0, self.1))
    }
}

impl ToAddresses for Path {
    fn to_addresses(&self) -> Result<Vec<Address>> {
        Ok(vec![Address::Path(self.to_owned())])
    }
}

impl ToAddresses for PathBuf {
    fn to_addresses(&self) -> Result<Vec<Address>> {
        self.as_path().to_addresses()
    }
}

impl ToAddresses for [Address] {
    fn to_addresses(&self) -> Result<Vec<Address>> {
        Ok(self.to_vec())
    }
}

impl ToAddresses for Vec<Address> {
    fn to_addresses(&self) -> Result<Vec<Address>> {
        Ok(self.clone())
    }
}

impl<T: ToAddresses + ?Sized> ToAddresses for &T {
    fn to_addresses(&self) -> Result<Vec<Address>> {
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
            fn to_addresses(&self) -> Result<Vec<Address>> {
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
    fn to_addresses(&self) -> Result<Vec<Address>> {
        Ok(vec![self.clone()])
    }
}
