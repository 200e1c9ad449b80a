//! Addresses as the system calls take and write them: `sockaddr` of each family.

use std::ffi::CString;
use std::io;
use std::mem::{self, MaybeUninit, offset_of};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

/// Where the name of a Unix socket begins in its address.
const NAME: usize = offset_of!(libc::sockaddr_un, sun_path);

/// The longest name of a Unix socket. The last byte is left for the zero at the end of a path.
const LONGEST: usize = mem::size_of::<libc::sockaddr_un>() - NAME - 1;

/// An address for a system call to read.
///
/// The BSDs' length within an address is left zero: the kernel takes the length beside it.
pub(crate) enum RawAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
    /// The name, and the length of the address with it.
    Unix(libc::sockaddr_un, usize),
}

impl RawAddress {
    pub(crate) fn inet(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: the structure is plain data of integers, for which zero is a valid
                // value.
                let mut raw: libc::sockaddr_in = unsafe { mem::zeroed() };
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                Self::V4(raw)
            }
            SocketAddr::V6(v6) => {
                // SAFETY: as above.
                let mut raw: libc::sockaddr_in6 = unsafe { mem::zeroed() };
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_flowinfo = v6.flowinfo();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                Self::V6(raw)
            }
        }
    }

    /// Makes the address of a Unix socket with a path.
    ///
    /// # Errors
    ///
    /// The reason for which no Unix socket can have that path, for an error message.
    pub(crate) fn path(path: &[u8]) -> Result<Self, String> {
        if path.contains(&0) {
            return Err("it has a zero byte in it".to_owned());
        }
        Self::unix(&[], path)
    }

    /// Makes the address of a Unix socket with a name outside the file system.
    ///
    /// # Errors
    ///
    /// As for [`path`](Self::path).
    #[cfg(has_abstract_addresses)]
    pub(crate) fn abstract_name(name: &[u8]) -> Result<Self, String> {
        Self::unix(&[0], name)
    }

    fn unix(prefix: &[u8], name: &[u8]) -> Result<Self, String> {
        if name.len() > LONGEST {
            let length = name.len();
            return Err(format!(
                "it has {length} bytes, and the system allows {LONGEST}"
            ));
        }
        // SAFETY: the structure is plain data of integers, for which zero is a valid value.
        let mut raw: libc::sockaddr_un = unsafe { mem::zeroed() };
        raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let bytes = prefix.iter().chain(name);
        for (to, from) in raw.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        Ok(Self::Unix(raw, NAME + prefix.len() + name.len()))
    }

    /// Returns a pointer to the address, of which [`len`](Self::len) bytes are for the call.
    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        match self {
            Self::V4(raw) => ptr::from_ref(raw).cast(),
            Self::V6(raw) => ptr::from_ref(raw).cast(),
            Self::Unix(raw, _) => ptr::from_ref(raw).cast(),
        }
    }

    pub(super) fn len(&self) -> libc::socklen_t {
        let len = match self {
            Self::V4(raw) => mem::size_of_val(raw),
            Self::V6(raw) => mem::size_of_val(raw),
            Self::Unix(_, len) => *len,
        };
        len as libc::socklen_t
    }
}

/// An address that a system call has written.
pub(crate) struct Written {
    storage: libc::sockaddr_storage,
    /// The number of bytes that the call has written, or more if it has cut the address.
    len: libc::socklen_t,
}

/// The parts of an address that a system call has written.
#[derive(Debug, PartialEq)]
pub(crate) enum Parts<'a> {
    Inet(SocketAddr),
    /// The path, or an abstract name after a zero byte.
    Unix(&'a [u8]),
    /// The address is of another family, or empty, which BSDs return for an unnamed Unix peer.
    Other,
}

impl Written {
    /// Makes a call that writes an address. Returns its result and the address.
    pub(super) fn by<R>(
        call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> R,
    ) -> (R, Self) {
        let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut len = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        let result = call(storage.as_mut_ptr().cast(), &raw mut len);
        // SAFETY: the buffer was zeroed, so all of it is initialised, and it is plain data.
        let storage = unsafe { storage.assume_init() };
        (result, Self { storage, len })
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        match libc::c_int::from(self.storage.ss_family) {
            libc::AF_INET if self.holds::<libc::sockaddr_in>() => {
                let raw = ptr::from_ref(&self.storage).cast::<libc::sockaddr_in>();
                // SAFETY: a sockaddr_storage is as large and as aligned as the address of any
                // family, all of it is initialised, and every value of the fields is valid.
                let raw = unsafe { &*raw };
                let ip = raw.sin_addr.s_addr.to_ne_bytes();
                let port = u16::from_be(raw.sin_port);
                Parts::Inet(SocketAddrV4::new(ip.into(), port).into())
            }
            libc::AF_INET6 if self.holds::<libc::sockaddr_in6>() => {
                let raw = ptr::from_ref(&self.storage).cast::<libc::sockaddr_in6>();
                // SAFETY: as above.
                let raw = unsafe { &*raw };
                let ip = raw.sin6_addr.s6_addr;
                let port = u16::from_be(raw.sin6_port);
                let address =
                    SocketAddrV6::new(ip.into(), port, raw.sin6_flowinfo, raw.sin6_scope_id);
                Parts::Inet(address.into())
            }
            libc::AF_UNIX => Parts::Unix(self.name()),
            _ => Parts::Other,
        }
    }

    /// Checks whether the call has written a whole address of type `T`.
    fn holds<T>(&self) -> bool {
        self.len as usize >= mem::size_of::<T>()
    }

    /// Returns the name in the address of a Unix socket, without the zero byte that ends a path.
    fn name(&self) -> &[u8] {
        let raw = ptr::from_ref(&self.storage).cast::<libc::sockaddr_un>();
        // SAFETY: a sockaddr_storage is as large and as aligned as the address of any family, all
        // of it is initialised, and every value of the fields is valid.
        let raw = unsafe { &*raw };
        let path = ptr::from_ref(&raw.sun_path).cast::<u8>();
        // SAFETY: a c_char has the size of a byte and no invalid values. The bytes are those of the
        // array, which `self` holds and the result borrows.
        let path = unsafe { std::slice::from_raw_parts(path, raw.sun_path.len()) };
        let len = (self.len as usize).saturating_sub(NAME).min(path.len());
        let path = &path[..len];
        if cfg!(has_abstract_addresses) && path.first() == Some(&0) {
            return path;
        }
        let end = path.iter().position(|byte| *byte == 0);
        &path[..end.unwrap_or(len)]
    }
}

/// Returns the number of a network interface. See if_nametoindex(3).
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the pointer is to a string that ends with a zero byte, and is borrowed for the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is read from an address after a system call has copied it.
    fn copied(raw: &RawAddress, check: impl Fn(Parts<'_>)) {
        let ((), written) = Written::by(|storage, len| {
            let size = raw.len();
            // SAFETY: both addresses are at least as long as `size`, and are different objects.
            unsafe {
                ptr::copy_nonoverlapping(raw.as_ptr().cast(), storage.cast::<u8>(), size as usize)
            };
            // SAFETY: the pointer is to the exclusively borrowed length.
            unsafe { *len = size };
        });
        check(written.parts());
    }

    #[test]
    fn every_part_of_an_address_survives() {
        for text in ["1.2.3.4:80", "[2001:db8::1]:65535", "[fe80::1%7]:1"] {
            let mut address: SocketAddr = text.parse().unwrap();
            if let SocketAddr::V6(v6) = &mut address {
                v6.set_flowinfo(0x12345);
            }
            copied(&RawAddress::inet(&address), |parts| {
                assert_eq!(parts, Parts::Inet(address));
            });
        }
        let longest = [b'x'; LONGEST];
        for path in [&b""[..], b"/a", &longest] {
            copied(&RawAddress::path(path).unwrap(), |parts| {
                assert_eq!(parts, Parts::Unix(path));
            });
        }
        #[cfg(has_abstract_addresses)]
        for name in [&b"a\0b"[..], &longest] {
            copied(&RawAddress::abstract_name(name).unwrap(), |parts| {
                assert_eq!(parts, Parts::Unix(&[&[0], name].concat()));
            });
        }
    }

    #[test]
    fn a_name_that_no_unix_socket_can_have_is_refused() {
        let too_long = [b'x'; LONGEST + 1];
        let error = RawAddress::path(&too_long).err().unwrap();
        assert!(error.contains(&too_long.len().to_string()), "{error}");
        assert!(RawAddress::path(b"a\0b").is_err());
    }

    #[test]
    fn an_address_of_no_family_or_cut_short_has_no_parts() {
        let ((), empty) = Written::by(|_, len| {
            // SAFETY: the pointer is to the exclusively borrowed length.
            unsafe { *len = 0 };
        });
        assert_eq!(empty.parts(), Parts::Other);
        let raw = RawAddress::inet(&"1.2.3.4:80".parse().unwrap());
        let ((), cut) = Written::by(|storage, len| {
            // SAFETY: as in `copied`.
            unsafe { ptr::copy_nonoverlapping(raw.as_ptr().cast(), storage.cast::<u8>(), 4) };
            // SAFETY: the pointer is to the exclusively borrowed length.
            unsafe { *len = 4 };
        });
        assert_eq!(cut.parts(), Parts::Other);
    }
}
