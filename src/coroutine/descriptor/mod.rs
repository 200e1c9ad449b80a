//! Descriptors in futures.

mod read_write;
mod wait;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;

use wait::{Event, Wait};

use super::handle::Handle;
use super::source::{Side, Source};
use crate::error::{Error, Result};
use crate::event_loop::{AnyId, EventLoop};
use crate::sys;

/// A descriptor that futures read, write and wait for: a socket, a pipe, or, within a
/// [`FileWrapper`](crate::FileWrapper), a terminal or any other file. It is a channel of its loop
/// that does not keep [`run`](EventLoop::run) going: tasks do.
///
/// It implements [`AsyncRead`](futures_io::AsyncRead) and [`AsyncWrite`](futures_io::AsyncWrite) if
/// the value within implements [`Read`](io::Read) and [`Write`](io::Write). A shared reference to it does if a reference to the value does, so that two tasks can
/// read and write one descriptor at once. The traits of crates such as `futures-lite` add methods
/// like `read_line` and `copy`.
///
/// A call is made when it may succeed. No byte is taken from the descriptor before, so dropping a
/// future that waits loses nothing. A task that finds one descriptor ready all the time lets others
/// run after 64 calls.
///
/// ```
/// use fdloop::{Async, EventLoop};
/// use futures_lite::{AsyncBufReadExt, AsyncWriteExt, io::BufReader};
/// use std::os::unix::net::UnixStream;
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let mut event_loop = EventLoop::new()?;
/// let handle = event_loop.handle();
/// event_loop.block_on(async move {
///     let (ours, mut theirs) = (Async::new(&handle, ours)?, Async::new(&handle, theirs)?);
///     theirs.write_all(b"one line\n").await?;
///     let mut line = String::new();
///     BufReader::new(&ours).read_line(&mut line).await?;
///     assert_eq!(line, "one line\n");
///     Ok::<_, fdloop::Error>(())
/// })??;
/// # Ok::<(), fdloop::Error>(())
/// ```
pub struct Async<T: 'static> {
    /// `None` only while this is dropped.
    value: Option<T>,
    source: Rc<Source>,
    /// The operations of the value's type on its descriptor.
    kind: &'static Kind<T>,
}

/// The differences between types that are a descriptor, and others.
struct Kind<T> {
    /// True if a call that moves fewer bytes than it could has found the end of what is ready.
    /// False for a type with a buffer of its own.
    direct: bool,
    /// Ends the output of a socket.
    end_output: fn(&T) -> io::Result<()>,
}

impl<T> Kind<T> {
    const OTHER: Self = Self {
        direct: false,
        end_output: |_| Ok(()),
    };
}

impl<T: AsFd> Kind<T> {
    const DESCRIPTOR: Self = Self {
        direct: true,
        end_output: |value| match sys::socket::shutdown_write(value.as_fd()) {
            // Not a socket, or the connection is gone already.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOTSOCK | libc::ENOTCONN | libc::EBADF)
                ) =>
            {
                Ok(())
            }
            result => result,
        },
    };
}

// No reference to the value is ever pinned.
impl<T> Unpin for Async<T> {}

impl<T: AsFd + 'static> Async<T> {
    /// Takes over a descriptor, and makes it non-blocking. This also affects every duplicate of the
    /// descriptor: for a terminal, and for pipes that other processes share, use
    /// [`over`](Async::over)`(FileWrapper::new(file)?)`, which avoids that.
    ///
    /// # Errors
    ///
    /// As for [`over`](Async::over); else the errors of fcntl(2).
    pub fn new(handle: &Handle, value: T) -> Result<Self> {
        sys::fd::set_nonblocking(value.as_fd(), true).map_err(|e| {
            let number = value.as_fd().as_raw_fd();
            Error::system("make a descriptor non-blocking", Some(number), e)
        })?;
        let fd = value.as_fd().as_raw_fd();
        Self::watch(handle, fd, value, &Kind::DESCRIPTOR)
    }

    /// Takes over a descriptor that is non-blocking.
    pub(super) fn nonblocking(handle: &Handle, value: T) -> Result<Self> {
        let fd = value.as_fd().as_raw_fd();
        Self::watch(handle, fd, value, &Kind::DESCRIPTOR)
    }
}

impl<T: AsRawFd + 'static> Async<T> {
    /// Takes over a value whose calls do not block: a [`FileWrapper`](crate::FileWrapper), or a
    /// type of your own. Its descriptor must stay the same.
    ///
    /// ```
    /// use fdloop::{Async, EventLoop, FileWrapper};
    /// use futures_lite::AsyncReadExt;
    /// use std::io::Write;
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let copied = event_loop.block_on(async move {
    ///     let mut input = Async::over(&handle, FileWrapper::new(reader)?)?;
    ///     writer.write_all(b"piped")?;
    ///     drop(writer);
    ///     let mut data = Vec::new();
    ///     input.read_to_end(&mut data).await?;
    ///     Ok::<_, fdloop::Error>(data)
    /// })??;
    /// assert_eq!(copied, b"piped");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`EventLoop::add`] and [`Handle::with`].
    pub fn over(handle: &Handle, value: T) -> Result<Self> {
        let fd = value.as_raw_fd();
        Self::watch(handle, fd, value, &Kind::OTHER)
    }
}

impl<T: 'static> Async<T> {
    fn watch(handle: &Handle, fd: RawFd, value: T, kind: &'static Kind<T>) -> Result<Self> {
        let add = |event_loop: &mut EventLoop| Source::add(&handle.0, event_loop, fd);
        let source = handle.with(add)??;
        Ok(Self {
            value: Some(value),
            source,
            kind,
        })
    }

    /// Returns the value. Its descriptor must not be exchanged for another one.
    #[must_use]
    pub fn get_ref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("the value is taken when the whole is consumed"),
        }
    }

    /// Returns the value, to change it. Its descriptor must not be exchanged for another one.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("the value is taken when the whole is consumed"),
        }
    }

    /// Takes the value out of the loop, non-blocking as it is.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        match self.value.take() {
            Some(value) => value,
            None => unreachable!("the value is taken when the whole is consumed"),
        }
    }

    /// Returns the id of the channel, with which [`EventLoop::close`] closes it.
    #[must_use]
    pub fn id(&self) -> Option<AnyId> {
        self.source.id().map(AnyId::from)
    }

    /// Closes the channel: calls that wait, and later ones, fail with `NotConnected`. The
    /// descriptor itself is closed when the value is dropped. (`AsyncWriteExt::close` of other
    /// crates ends the output.)
    pub fn abort(&self) {
        self.source.remove(());
    }

    /// Waits until the descriptor is readable, at end of file, or broken. This is a hint: a call
    /// may block all the same.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel was closed.
    pub async fn readable(&self) -> io::Result<()> {
        Event::new(&self.source, Side::Read).await
    }

    /// Waits until the descriptor is writable or broken. This is a hint: a call may block all the
    /// same.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the channel was closed.
    pub async fn writable(&self) -> io::Result<()> {
        Event::new(&self.source, Side::Write).await
    }

    /// Makes a call that reads, again whenever the descriptor is readable, until it returns
    /// something other than `WouldBlock`.
    ///
    /// ```
    /// use fdloop::{Async, EventLoop};
    /// use std::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(b"to myself", socket.local_addr()?)?;
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let n = event_loop.block_on(async move {
    ///     let socket = Async::new(&handle, socket)?;
    ///     let mut buf = [0; 64];
    ///     let (n, _) = socket.read_with(|socket| socket.recv_from(&mut buf)).await?;
    ///     Ok::<_, fdloop::Error>(n)
    /// })??;
    /// assert_eq!(n, 9);
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the call; `NotConnected` if the channel was closed.
    pub async fn read_with<R>(&self, mut call: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let wait = Wait::new(&self.source, Side::Read);
        poll_fn(|cx| wait.poll_call(cx, || call(self.get_ref()))).await
    }

    /// Makes a call that writes, again whenever the descriptor is writable, until it returns
    /// something other than `WouldBlock`: see [`read_with`](Async::read_with).
    ///
    /// # Errors
    ///
    /// Those of the call; `NotConnected` if the channel was closed.
    pub async fn write_with<R>(&self, mut call: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let wait = Wait::new(&self.source, Side::Write);
        poll_fn(|cx| wait.poll_call(cx, || call(self.get_ref()))).await
    }
}

impl<T: 'static> Drop for Async<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        if self.source.is_lost() {
            // Another owner may have the number by now.
            mem::forget(value);
            return;
        }
        self.source.remove(value);
    }
}

impl<T> AsFd for Async<T>
where
    T: AsFd,
{
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.source.fd
    }
}

impl<T> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Async")
            .field("fd", &self.source.fd)
            .field("closed", &self.source.is_closed())
            .finish_non_exhaustive()
    }
}
