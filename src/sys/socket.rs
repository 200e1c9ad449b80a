//! Sockets: the calls of the Berkeley interface.

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{
    self as nix_socket, AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, sockopt,
};

use super::{address, check, check_size, fd};
use crate::address::{Address, Family};

#[cfg(has_msg_nosignal)]
const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;
#[cfg(not(has_msg_nosignal))]
const NO_SIGNAL: libc::c_int = 0; // SO_NOSIGPIPE is set when the socket is adopted.

fn raw_family(family: Family) -> AddressFamily {
    match family {
        Family::Inet => AddressFamily::Inet,
        Family::Inet6 => AddressFamily::Inet6,
        Family::Unix => AddressFamily::Unix,
    }
}

fn raw_type(stream: bool) -> SockType {
    if stream {
        SockType::Stream
    } else {
        SockType::Datagram
    }
}

/// The flags of new sockets: close-on-exec and non-blocking, where the call takes flags.
fn flags() -> SockFlag {
    #[cfg(has_sock_flags)]
    return SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    #[cfg(not(has_sock_flags))]
    return SockFlag::empty();
}

/// Sets the flags of a socket that was made without them.
pub(crate) fn adopt(socket: BorrowedFd<'_>) -> io::Result<()> {
    fd::set_close_on_exec(socket)?;
    fd::set_nonblocking(socket, true)?;
    #[cfg(not(has_msg_nosignal))]
    silence_sigpipe(socket)?;
    Ok(())
}

/// Makes a send on a broken connection fail with EPIPE, without SIGPIPE.
#[cfg(not(has_msg_nosignal))]
fn silence_sigpipe(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, and its address and size are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NOSIGPIPE,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    match check(result) {
        // An accepted socket whose peer is already gone takes no options. A read from it
        // reports the end.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        result => result.map(drop),
    }
}

/// Makes a socket.
pub(crate) fn socket(family: Family, stream: bool) -> io::Result<OwnedFd> {
    let socket = nix_socket::socket(raw_family(family), raw_type(stream), flags(), None)?;
    #[cfg(not(has_sock_flags))]
    adopt(std::os::fd::AsFd::as_fd(&socket))?;
    Ok(socket)
}

/// Makes two connected, unnamed Unix sockets.
pub(crate) fn pair(stream: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = nix_socket::socketpair(AddressFamily::Unix, raw_type(stream), None, flags())?;
    #[cfg(not(has_sock_flags))]
    {
        adopt(std::os::fd::AsFd::as_fd(&a))?;
        adopt(std::os::fd::AsFd::as_fd(&b))?;
    }
    Ok((a, b))
}

/// bind(2).
pub(crate) fn bind(socket: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    let raw = address::to_raw(address)?;
    Ok(nix_socket::bind(socket.as_raw_fd(), &*raw)?)
}

/// listen(2). A backlog beyond what the system allows is cut to that.
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    // Not nix's function, which refuses what the system call cuts.
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: the call takes no pointer, and the descriptor is borrowed for it.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) }).map(drop)
}

/// Calls connect(2). Returns true if the connection is established, and false if it is in
/// progress.
pub(crate) fn connect(socket: BorrowedFd<'_>, address: &Address) -> io::Result<bool> {
    let raw = address::to_raw(address)?;
    match nix_socket::connect(socket.as_raw_fd(), &*raw) {
        Ok(()) | Err(nix::Error::EISCONN) => Ok(true),
        // EINTR: the connection goes on in the background, says POSIX.
        Err(nix::Error::EINPROGRESS | nix::Error::EALREADY | nix::Error::EINTR) => Ok(false),
        // A Unix listener whose queue is full fails with EAGAIN, and no connect is in progress.
        // Waiting for one would never end.
        Err(nix::Error::EAGAIN) => Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "the listener's queue of connections is full",
        )),
        Err(errno) => Err(errno.into()),
    }
}

/// Calls accept4(2), or accept(2) and sets the flags.
pub(crate) fn accept(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
    let (result, peer) = with_address(|storage, len| {
        #[cfg(has_accept4)]
        // SAFETY: `storage` and `len` come from `with_address`: exclusive
        // pointers to an address buffer and to its size in bytes.
        let fd = unsafe { libc::accept4(socket.as_raw_fd(), storage, len, flags().bits()) };
        #[cfg(not(has_accept4))]
        // SAFETY: as above.
        let fd = unsafe { libc::accept(socket.as_raw_fd(), storage, len) };
        check(fd)
    });
    let number = result?;
    // SAFETY: accept has just made this descriptor, and no other code knows it.
    let accepted = unsafe { OwnedFd::from_raw_fd(number) };
    #[cfg(not(has_accept4))]
    adopt(std::os::fd::AsFd::as_fd(&accepted))?;
    Ok((accepted, peer))
}

/// Makes a call that writes an address. Returns its result and the address.
fn with_address<R>(
    call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> R,
) -> (R, Address) {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let result = call(storage.as_mut_ptr().cast(), &raw mut len);
    // A truncated address reports its full length; no family here is that long.
    let len = len.min(mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t);
    // SAFETY: the buffer was zeroed, so all of it is initialised, and `len` is at
    // most its size; the family is read from it and decides how it is taken.
    let raw = unsafe { SockaddrStorage::from_raw(storage.as_ptr().cast(), Some(len)) };
    let address = raw.map_or(Address::Unnamed, |raw| address::from_raw(&raw));
    (result, address)
}

/// recv(2) of at most `buf.len()` bytes.
#[inline]
pub(crate) fn recv(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(socket, buf, 0)
}

/// recv(2) of out-of-band data.
pub(crate) fn recv_oob(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(socket, buf, libc::MSG_OOB)
}

/// Calls recv(2) without removing the data from the queue.
pub(crate) fn peek(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(socket, buf, libc::MSG_PEEK)
}

/// Receives without waiting, whatever the flags of the open file description say.
#[cfg(has_msg_dontwait)]
pub(crate) fn recv_now(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(socket, buf, libc::MSG_DONTWAIT)
}

#[inline]
fn recv_with(socket: BorrowedFd<'_>, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusively
    // borrowed buffer, and the descriptor is borrowed for the call.
    check_size(unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            flags,
        )
    })
}

/// send(2) of at most `buf.len()` bytes.
#[inline]
pub(crate) fn send(socket: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    send_with(socket, buf, 0)
}

/// send(2) of out-of-band data.
pub(crate) fn send_oob(socket: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    send_with(socket, buf, libc::MSG_OOB)
}

/// Sends without waiting, whatever the flags of the open file description say.
#[cfg(has_msg_dontwait)]
pub(crate) fn send_now(socket: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    send_with(socket, buf, libc::MSG_DONTWAIT)
}

#[inline]
fn send_with(socket: BorrowedFd<'_>, buf: &[u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: the kernel reads at most `len` bytes of the borrowed buffer, and
    // the descriptor is borrowed for the call.
    check_size(unsafe {
        libc::send(
            socket.as_raw_fd(),
            buf.as_ptr().cast(),
            buf.len(),
            flags | NO_SIGNAL,
        )
    })
}

/// sendmsg(2) of the first [`fd::MAX_SLICES`] of `bufs`.
pub(crate) fn send_vectored(socket: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    send_vectored_with(socket, bufs, 0)
}

/// Sends from several buffers without waiting, as [`send_now`] does.
#[cfg(has_msg_dontwait)]
pub(crate) fn send_vectored_now(socket: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    send_vectored_with(socket, bufs, libc::MSG_DONTWAIT)
}

fn send_vectored_with(
    socket: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    flags: libc::c_int,
) -> io::Result<usize> {
    // Zeroed and filled in, not a literal: some platforms pad the structure.
    // SAFETY: msghdr is plain data of integers and pointers, for which zero is a
    // valid value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // sendmsg only reads what the slices name; the type is iovec for both ways.
    message.msg_iov = bufs.as_ptr().cast_mut().cast();
    message.msg_iovlen = bufs.len().min(fd::MAX_SLICES) as _;
    // SAFETY: IoSlice has the layout of iovec on Unix, as its documentation
    // promises; the entries counted are there, and they and the buffers they
    // name are borrowed for the call. The other pointers are null.
    check_size(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags | NO_SIGNAL) })
}

/// recvfrom(2) of one datagram, cut to `buf.len()` bytes, and its sender.
pub(crate) fn recv_from(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, Address)> {
    let (result, from) = with_address(|storage, len| {
        // SAFETY: the buffer is exclusively borrowed and `len` bytes long;
        // `storage` and `len` come from `with_address`.
        check_size(unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                buf.as_mut_ptr().cast(),
                buf.len(),
                0,
                storage,
                len,
            )
        })
    });
    Ok((result?, from))
}

/// sendto(2) of one datagram.
pub(crate) fn send_to(socket: BorrowedFd<'_>, buf: &[u8], to: &Address) -> io::Result<usize> {
    let raw = address::to_raw(to)?;
    // SAFETY: the kernel reads `len` bytes of the borrowed buffer and `raw.len()`
    // bytes of the address, which outlives the call.
    check_size(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            buf.as_ptr().cast(),
            buf.len(),
            NO_SIGNAL,
            raw.as_ptr(),
            raw.len(),
        )
    })
}

/// Takes the pending error of the socket (SO_ERROR).
pub(crate) fn take_error(socket: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let errno = nix_socket::getsockopt(&socket, sockopt::SocketError)?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

/// Checks whether the socket listens (SO_ACCEPTCONN).
pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(nix_socket::getsockopt(&socket, sockopt::AcceptConn)?)
}

/// Checks whether the socket carries a stream of bytes, in which receiving 0 means end of file,
/// and not datagrams (SO_TYPE).
pub(crate) fn is_stream(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(nix_socket::getsockopt(&socket, sockopt::SockType)? != SockType::Datagram)
}

/// SO_REUSEADDR.
pub(crate) fn set_reuse_addr(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix_socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?)
}

/// SO_REUSEPORT, where the system distributes connections among the sockets that have it.
#[cfg(distributes_port)]
pub(crate) fn set_reuse_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(not(has_reuseport_lb))]
    use sockopt::ReusePort;
    #[cfg(has_reuseport_lb)]
    use sockopt::ReusePortLb as ReusePort;
    Ok(nix_socket::setsockopt(&socket, ReusePort, &true)?)
}

#[cfg(not(distributes_port))]
pub(crate) fn set_reuse_port(_: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system does not distribute the connections of a port among sockets; let one listener \
         accept, and hand the connections over",
    ))
}

/// TCP_NODELAY.
pub(crate) fn set_nodelay(socket: BorrowedFd<'_>, nodelay: bool) -> io::Result<()> {
    let result = nix_socket::setsockopt(&socket, sockopt::TcpNoDelay, &nodelay);
    Ok(result?)
}

/// Checks whether TCP_NODELAY is set.
pub(crate) fn nodelay(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(nix_socket::getsockopt(&socket, sockopt::TcpNoDelay)?)
}

/// SO_LINGER with a time of zero: closing the socket resets the connection.
pub(crate) fn set_reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    Ok(nix_socket::setsockopt(&socket, sockopt::Linger, &linger)?)
}

/// shutdown(2) of the sending side.
pub(crate) fn shutdown_write(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix_socket::shutdown(
        socket.as_raw_fd(),
        nix_socket::Shutdown::Write,
    )?)
}

/// getsockname(2).
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> io::Result<Address> {
    let (result, address) = with_address(|storage, len| {
        // SAFETY: `storage` and `len` come from `with_address`.
        check(unsafe { libc::getsockname(socket.as_raw_fd(), storage, len) })
    });
    result?;
    Ok(address)
}

/// getpeername(2).
pub(crate) fn peer_address(socket: BorrowedFd<'_>) -> io::Result<Address> {
    let (result, address) = with_address(|storage, len| {
        // SAFETY: `storage` and `len` come from `with_address`.
        check(unsafe { libc::getpeername(socket.as_raw_fd(), storage, len) })
    });
    result?;
    Ok(address)
}
