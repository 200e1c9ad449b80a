//! Conversion of addresses from and to `sockaddr`.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, UnixAddr};

use crate::address::Address;

/// Converts `address` to a `sockaddr`.
///
/// # Errors
///
/// `InvalidInput` for a path that is too long (107 bytes on Linux, 103 on the
/// BSDs) or has a zero byte in it; `Unsupported` for a name that the platform
/// does not have.
pub(super) fn to_raw(address: &Address) -> io::Result<Box<dyn SockaddrLike>> {
    let unix = |result: nix::Result<UnixAddr>| -> io::Result<Box<dyn SockaddrLike>> {
        let address = result.map_err(|errno| {
            let message = format!("{address} cannot be the name of a Unix socket: {errno}");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        Ok(Box::new(address))
    };
    match address {
        Address::Inet(SocketAddr::V4(v4)) => Ok(Box::new(SockaddrIn::from(*v4))),
        Address::Inet(SocketAddr::V6(v6)) => Ok(Box::new(SockaddrIn6::from(*v6))),
        Address::Path(path) => unix(UnixAddr::new(path)),
        #[cfg(has_abstract_addresses)]
        Address::Abstract(name) => unix(UnixAddr::new_abstract(name)),
        #[cfg(not(has_abstract_addresses))]
        Address::Abstract(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{address} is an abstract address, which only Linux has"),
        )),
        Address::Unnamed => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an unnamed address is nothing to bind or connect to",
        )),
    }
}

/// Converts an address that a system call wrote. An address of another family, or an empty one
/// (which BSDs return for an unnamed Unix peer), is unnamed.
pub(super) fn from_raw(storage: &SockaddrStorage) -> Address {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Address::Inet(SocketAddr::V4((*v4).into()));
    }
    if let Some(v6) = storage.as_sockaddr_in6() {
        return Address::Inet(SocketAddr::V6((*v6).into()));
    }
    let Some(unix) = storage.as_unix_addr() else {
        return Address::Unnamed;
    };
    #[cfg(has_abstract_addresses)]
    if let Some(name) = unix.as_abstract() {
        return Address::Abstract(name.to_vec());
    }
    match unix.path() {
        Some(path) if !path.as_os_str().is_empty() => Address::Path(path.to_owned()),
        _ => Address::Unnamed,
    }
}
