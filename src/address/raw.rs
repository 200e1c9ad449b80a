//! Addresses in the form of the system calls.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::{Address, Family};
use crate::sys::address::{Parts, RawAddress, Written};

impl Address {
    /// Converts to a `sockaddr`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that is too long (107 bytes on Linux, 103 on the
    /// BSDs) or has a zero byte in it; `Unsupported` for a name that the platform
    /// does not have.
    pub(crate) fn to_raw(&self) -> io::Result<RawAddress> {
        let unix = |result: Result<RawAddress, String>| {
            result.map_err(|reason| {
                let message = format!("{self} cannot be the name of a Unix socket: {reason}");
                io::Error::new(io::ErrorKind::InvalidInput, message)
            })
        };
        match self {
            Self::Inet(address) => Ok(RawAddress::inet(address)),
            Self::Path(path) => unix(RawAddress::path(path.as_os_str().as_bytes())),
            #[cfg(has_abstract_addresses)]
            Self::Abstract(name) => unix(RawAddress::abstract_name(name)),
            #[cfg(not(has_abstract_addresses))]
            Self::Abstract(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{self} is an abstract address, which only Linux has"),
            )),
            Self::Unnamed => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an unnamed address is nothing to bind or connect to",
            )),
        }
    }
}

impl From<Written> for Address {
    fn from(address: Written) -> Self {
        match address.parts() {
            Parts::Inet(address) => Self::Inet(address),
            Parts::Unix(name) => OsStr::from_bytes(name).into(),
            Parts::Other => Self::Unnamed,
        }
    }
}

impl Family {
    /// Returns the number that socket(2) takes.
    pub(crate) fn to_raw(self) -> libc::c_int {
        match self {
            Self::Inet => libc::AF_INET,
            Self::Inet6 => libc::AF_INET6,
            Self::Unix => libc::AF_UNIX,
        }
    }
}
