//! The dispatcher over a file.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::wrapper::FileWrapper;
use crate::dispatcher::{Dispatcher, DispatcherWithSend, Handler};
use crate::error::Result;
use crate::event_loop::forward_channel;

/// A [`Dispatcher`] over a file of any kind: a pipe, a FIFO, a terminal, a device,
/// a regular file. asyncore's `file_dispatcher`.
///
/// The file is duplicated, and its reads and writes never block: [`FileWrapper`] documents
/// how, and when other processes that share the file see `O_NONBLOCK` on it. Regular files are
/// always ready, and reading them waits for the disk. The dispatcher dereferences to a
/// [`Dispatcher`]; methods that only sockets have return an error.
///
/// At end of file `handle_eof` is called, and the channel closes. To wait for the next
/// writer of a FIFO instead, or for input after Ctrl-D, override `handle_eof` and
/// call [`rearm_input`](crate::Endpoint::rearm_input).
///
/// For input in lines, or in pieces of any other kind, see
/// [`AsyncChat::over`](crate::AsyncChat::over) a [`FileWrapper`].
///
/// ```
/// use fdloop::{EventLoop, FileDispatcher, Handler, Io, Result, View};
///
/// struct Lines(usize);
/// impl Handler for Lines {
///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
///         let mut buf = [0; 4096];
///         let n = io.recv(&mut buf)?;
///         self.0 += buf[..n].iter().filter(|byte| **byte == b'\n').count();
///         Ok(())
///     }
///     fn writable(&self, _: &View<'_>) -> bool {
///         false // nothing to write: no need to wake the loop for it
///     }
///     fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
///         println!("{} lines", self.0);
///         Ok(())
///     }
/// }
///
/// let mut event_loop = EventLoop::new()?;
/// event_loop.add(FileDispatcher::new(std::io::stdin(), Lines(0))?)?;
/// # let (reader, writer) = os_pipe::pipe()?;
/// # event_loop.close_all(false)?;
/// # event_loop.add(FileDispatcher::new(reader, Lines(0))?)?;
/// # std::io::Write::write_all(&mut &writer, b"one\ntwo\n")?;
/// # drop(writer);
/// event_loop.run()?;
/// # Ok::<(), fdloop::Error>(())
/// ```
#[must_use = "a channel does nothing until it is added to a loop: `event_loop.add(channel)`"]
pub struct FileDispatcher<H>(Dispatcher<H>);

impl<H: Handler> FileDispatcher<H> {
    /// Makes a dispatcher over a duplicate of `file`, without a buffer.
    ///
    /// # Errors
    ///
    /// As for [`FileWrapper::new`].
    pub fn new(file: impl AsFd, handler: H) -> Result<Self> {
        Ok(Self::over(FileWrapper::new(file)?, handler))
    }

    /// Makes a dispatcher over a wrapper that exists already, such as one that
    /// [leaves the flags alone](FileWrapper::leave_blocking), without a buffer. For one with
    /// a buffer, see [`DispatcherWithSend::over`].
    ///
    /// ```
    /// use fdloop::{FileDispatcher, FileWrapper, Handler};
    ///
    /// struct Quiet;
    /// impl Handler for Quiet {}
    ///
    /// let (reader, _writer) = os_pipe::pipe()?;
    /// let channel = FileDispatcher::over(FileWrapper::leave_blocking(&reader)?, Quiet);
    /// assert!(channel.connected());
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn over(file: FileWrapper, handler: H) -> Self {
        Self(Dispatcher::over(file, handler))
    }

    /// Makes a dispatcher over a duplicate of `file`, with an output buffer as in a
    /// [`DispatcherWithSend`].
    ///
    /// # Errors
    ///
    /// As for [`FileWrapper::new`].
    pub fn with_send(file: impl AsFd, handler: H) -> Result<Self> {
        let wrapper = FileWrapper::new(file)?;
        Ok(Self(
            DispatcherWithSend::over(wrapper, handler).into_inner(),
        ))
    }

    /// Makes a dispatcher over a duplicate of `file` that only reads, without a buffer: for
    /// standard input, the output of a child, or a device. Unless the handler
    /// overrides `writable`, the loop never waits for room to write.
    ///
    /// ```
    /// use fdloop::{EventLoop, FileDispatcher, Handler, Io, Result};
    /// use std::io::Write;
    ///
    /// struct Count(usize);
    /// impl Handler for Count {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         self.0 += io.recv(&mut [0; 4096])?;
    ///         Ok(())
    ///     }
    ///     fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
    ///         assert_eq!(self.0, 5);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(FileDispatcher::reader(reader, Count(0))?)?;
    /// writer.write_all(b"hello")?;
    /// drop(writer);
    /// event_loop.run()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`FileWrapper::new`].
    pub fn reader(file: impl AsFd, handler: H) -> Result<Self> {
        let mut channel = Self::new(file, handler)?;
        channel.mute_writes();
        Ok(channel)
    }

    /// Makes a dispatcher over a duplicate of `file` that only writes, with a buffer: for
    /// standard output, or the input of a child. The loop never waits for input, `handle_read`
    /// and `handle_eof` are not called, and [`input_ended`](crate::Endpoint::input_ended)
    /// is true from the beginning. When the reader of a pipe has gone, the channel ends, also
    /// while nothing is pending.
    ///
    /// ```
    /// use fdloop::{EventLoop, FileDispatcher, Handler};
    /// use std::io::Read;
    ///
    /// struct Quiet;
    /// impl Handler for Quiet {}
    ///
    /// let (mut reader, writer) = os_pipe::pipe()?;
    /// let mut channel = FileDispatcher::writer(&writer, Quiet)?;
    /// drop(writer); // the channel has a duplicate
    /// channel.send(b"hello")?;
    /// channel.close_when_done();
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(channel)?;
    /// event_loop.run()?;
    /// let mut received = String::new();
    /// reader.read_to_string(&mut received)?;
    /// assert_eq!(received, "hello");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`FileWrapper::new`].
    pub fn writer(file: impl AsFd, handler: H) -> Result<Self> {
        let mut channel = Self::with_send(file, handler)?;
        channel.set_write_only();
        Ok(channel)
    }

    /// Returns the dispatcher, for code that takes dispatchers over any transport, and to get
    /// the handler back.
    ///
    /// ```
    /// use fdloop::{FileDispatcher, Handler};
    ///
    /// struct Quiet;
    /// impl Handler for Quiet {}
    ///
    /// let (reader, _writer) = os_pipe::pipe()?;
    /// let channel = FileDispatcher::new(&reader, Quiet)?;
    /// // Closes the duplicate, and puts the flags of the file back.
    /// let Quiet = channel.into_inner().into_handler();
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    pub fn into_inner(self) -> Dispatcher<H> {
        self.0
    }
}

forward_channel!(FileDispatcher<H: Handler + 'static>);

impl<H> Deref for FileDispatcher<H> {
    type Target = Dispatcher<H>;

    fn deref(&self) -> &Dispatcher<H> {
        &self.0
    }
}

impl<H> DerefMut for FileDispatcher<H> {
    fn deref_mut(&mut self) -> &mut Dispatcher<H> {
        &mut self.0
    }
}

impl<H> AsRawFd for FileDispatcher<H> {
    /// Returns the number of the duplicate, or -1 if it was given up.
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<H> fmt::Debug for FileDispatcher<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileDispatcher").field(&**self).finish()
    }
}
