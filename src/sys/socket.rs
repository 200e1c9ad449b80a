//! Sockets: the calls of the Berkeley interface.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::address::{RawAddress, Written};
use super::{check, check_size, fd};

#[cfg(has_msg_nosignal)]
const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;
#[cfg(not(has_msg_nosignal))]
const NO_SIGNAL: libc::c_int = 0; // SO_NOSIGPIPE is set when the socket is adopted.

#[cfg(has_sock_flags)]
const FLAGS: libc::c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// Returns the type for socket(2), with the flags of new sockets: close-on-exec and non-blocking,
/// where the call takes flags.
fn raw_type(stream: bool) -> libc::c_int {
    let raw = if stream {
        libc::SOCK_STREAM
    } else {
        libc::SOCK_DGRAM
    };
    #[cfg(has_sock_flags)]
    return raw | FLAGS;
    #[cfg(not(has_sock_flags))]
    return raw;
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
    match set_option::<libc::c_int>(socket, libc::SOL_SOCKET, libc::SO_NOSIGPIPE, &1) {
        // An accepted socket whose peer is already gone takes no options. A read from it
        // reports the end.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        result => result,
    }
}

/// Makes a socket of an address family (`AF_INET` and so on).
pub(crate) fn socket(family: libc::c_int, stream: bool) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    let number = check(unsafe { libc::socket(family, raw_type(stream), 0) })?;
    // SAFETY: socket has just made this descriptor, and no other code knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    #[cfg(not(has_sock_flags))]
    adopt(std::os::fd::AsFd::as_fd(&socket))?;
    Ok(socket)
}

/// Makes two connected, unnamed Unix sockets.
pub(crate) fn pair(stream: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut numbers = [-1; 2];
    // SAFETY: the call writes two numbers, and the array has room for them.
    check(unsafe { libc::socketpair(libc::AF_UNIX, raw_type(stream), 0, numbers.as_mut_ptr()) })?;
    // SAFETY: socketpair has just made these descriptors, and no other code knows them.
    let [a, b] = numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
    #[cfg(not(has_sock_flags))]
    {
        adopt(std::os::fd::AsFd::as_fd(&a))?;
        adopt(std::os::fd::AsFd::as_fd(&b))?;
    }
    Ok((a, b))
}

/// bind(2).
pub(crate) fn bind(socket: BorrowedFd<'_>, address: &RawAddress) -> io::Result<()> {
    // SAFETY: the kernel reads `len` bytes of the address, which is borrowed for the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr(), address.len()) }).map(drop)
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
pub(crate) fn connect(socket: BorrowedFd<'_>, address: &RawAddress) -> io::Result<bool> {
    // SAFETY: the kernel reads `len` bytes of the address, which is borrowed for the call.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr(), address.len()) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::EISCONN) => Ok(true),
        // EINTR: the connection goes on in the background, says POSIX.
        Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => Ok(false),
        // A Unix listener whose queue is full fails with EAGAIN, and no connect is in progress.
        // Waiting for one would never end.
        Err(Errno::EAGAIN) => Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "the listener's queue of connections is full",
        )),
        Err(errno) => Err(errno.into()),
    }
}

/// Calls accept4(2), or accept(2) and sets the flags.
pub(crate) fn accept(socket: BorrowedFd<'_>) -> io::Result<(OwnedFd, Written)> {
    let (result, peer) = Written::by(|storage, len| {
        #[cfg(has_accept4)]
        // SAFETY: `storage` and `len` come from `Written::by`: exclusive
        // pointers to an address buffer and to its size in bytes.
        let fd = unsafe { libc::accept4(socket.as_raw_fd(), storage, len, FLAGS) };
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
pub(crate) fn recv_from(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, Written)> {
    let (result, from) = Written::by(|storage, len| {
        // SAFETY: the buffer is exclusively borrowed and `len` bytes long;
        // `storage` and `len` come from `Written::by`.
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
pub(crate) fn send_to(socket: BorrowedFd<'_>, buf: &[u8], to: &RawAddress) -> io::Result<usize> {
    // SAFETY: the kernel reads `len` bytes of the borrowed buffer and `to.len()`
    // bytes of the address, which is borrowed for the call.
    check_size(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            buf.as_ptr().cast(),
            buf.len(),
            NO_SIGNAL,
            to.as_ptr(),
            to.len(),
        )
    })
}

/// getsockopt(2) of an option that is an int.
fn option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `value`, every value of which is valid.
    // Both are exclusively borrowed for the call.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}

/// Calls setsockopt(2). `value` is of the type that the option takes.
fn set_option<T: Copy>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads at most the given number of bytes, which is the size of `value`, from
    // its address. It is borrowed for the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            mem::size_of_val(value) as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Takes the pending error of the socket (SO_ERROR).
pub(crate) fn take_error(socket: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let errno = option(socket, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

/// Checks whether the socket listens (SO_ACCEPTCONN).
pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(option(socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0)
}

/// Checks whether the socket carries a stream of bytes, in which receiving 0 means end of file,
/// and not datagrams (SO_TYPE).
pub(crate) fn is_stream(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(option(socket, libc::SOL_SOCKET, libc::SO_TYPE)? != libc::SOCK_DGRAM)
}

/// SO_REUSEADDR.
pub(crate) fn set_reuse_addr(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<libc::c_int>(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1)
}

/// SO_REUSEPORT, where the system distributes connections among the sockets that have it.
#[cfg(distributes_port)]
pub(crate) fn set_reuse_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(not(has_reuseport_lb))]
    use libc::SO_REUSEPORT;
    #[cfg(has_reuseport_lb)]
    use libc::SO_REUSEPORT_LB as SO_REUSEPORT;
    set_option::<libc::c_int>(socket, libc::SOL_SOCKET, SO_REUSEPORT, &1)
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
    let value = libc::c_int::from(nodelay);
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, &value)
}

/// Checks whether TCP_NODELAY is set.
pub(crate) fn nodelay(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY)? != 0)
}

/// SO_LINGER with a time of zero: closing the socket resets the connection.
pub(crate) fn set_reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    set_option(socket, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// shutdown(2) of the sending side.
pub(crate) fn shutdown_write(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes no pointer, and the descriptor is borrowed for it.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// getsockname(2).
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> io::Result<Written> {
    let (result, address) = Written::by(|storage, len| {
        // SAFETY: `storage` and `len` come from `Written::by`.
        check(unsafe { libc::getsockname(socket.as_raw_fd(), storage, len) })
    });
    result?;
    Ok(address)
}

/// getpeername(2).
pub(crate) fn peer_address(socket: BorrowedFd<'_>) -> io::Result<Written> {
    let (result, address) = Written::by(|storage, len| {
        // SAFETY: `storage` and `len` come from `Written::by`.
        check(unsafe { libc::getpeername(socket.as_raw_fd(), storage, len) })
    });
    result?;
    Ok(address)
}
