//! Socket addresses of the supported families.

mod parse;
mod raw;
mod resolve;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub(crate) use parse::parse_unless_name;
pub use resolve::ToAddresses;

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
/// A path without a slash, with `://` in it, or with `@` in front, is written `unix:PATH`.
///
/// `Display` writes the same forms, with `unix:` where a path needs it, so that parsing gives
/// the address back. The exception is a path or name that a terminal would not show as it is,
/// since it may come from a peer: control characters, characters that reorder text, and bytes
/// that are not UTF-8 are escaped, as in `\x1b`. The escapes are for people to read; parsing
/// takes them literally.
///
/// ```
/// use fdloop::Address;
///
/// let address: Address = "[::1]:80".parse()?;
/// assert_eq!(address.port(), Some(80));
/// let address: Address = "/run/daemon.sock".parse()?;
/// assert_eq!(address.to_string(), "/run/daemon.sock");
/// # Ok::<(), fdloop::Error>(())
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
    /// Returns the port of an IPv4 or IPv6 address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            _ => None,
        }
    }

    /// Returns the family that a socket for this address must have.
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
            Self::Path(path) => {
                let path = path.as_os_str().as_bytes();
                if !parse::is_plain_path(path) {
                    f.write_str("unix:")?;
                }
                escape(path, f)
            }
            Self::Abstract(name) => {
                f.write_char('@')?;
                escape(name, f)
            }
            Self::Unnamed => f.write_str("(unnamed)"),
        }
    }
}

/// Writes `text` as a terminal can show it. Printable text is left as it is, backslashes
/// included.
fn escape(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\0'..='\x1f' | '\x7f' => write!(f, "{}", [c as u8].escape_ascii())?,
                _ if c.is_control() || changes_layout(c) => write!(f, "{}", c.escape_unicode())?,
                _ => f.write_char(c)?,
            }
        }
        write!(f, "{}", chunk.invalid().escape_ascii())?;
    }
    Ok(())
}

/// Checks whether `c` ends a line, or makes a terminal show the text around it in another
/// order.
fn changes_layout(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    /// Takes a path, or an abstract name after a zero byte, as in `sun_path`.
    fn from(path: &OsStr) -> Self {
        match path.as_bytes() {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            _ => Self::Path(path.into()),
        }
    }
}
