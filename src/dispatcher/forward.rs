//! Passing input on to another channel.

use std::io;

use super::endpoint::Moved;
use super::io::Io;
use crate::error::{Error, Result};
use crate::event_loop::AnyId;

impl Io<'_> {
    /// Receives at most `most` bytes, and at most 1,048,576, and sends them on the channel `to`,
    /// which has a buffer. Returns the number of bytes. Use it in a handler that does not look at
    /// them.
    ///
    /// Where possible, the kernel moves the bytes, and they do not pass through the program: with
    /// splice(2) on Linux and Android, if one side is a pipe or FIFO and the other is a file of any
    /// kind or a socket that is received from. Otherwise they are [received](crate::Endpoint::recv)
    /// and [sent](crate::Endpoint::send).
    ///
    /// 0 means end of file, or a lost connection, as for [`recv`](crate::Endpoint::recv). If the
    /// other channel is lost, its `handle_close` is called.
    ///
    /// ```
    /// use fdloop::{ChannelId, EventLoop, FileDispatcher, Handler, Io, Result, View};
    ///
    /// struct Source(ChannelId<FileDispatcher<Sink>>);
    /// impl Handler for Source {
    ///     fn readable(&self, io: &View<'_>) -> bool {
    ///         let sink = io.event_loop().get(self.0);
    ///         sink.is_some_and(|sink| !sink.is_congested())
    ///     }
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         if io.event_loop().contains(self.0) {
    ///             io.forward(self.0, 65_536)?;
    ///         }
    ///         Ok(())
    ///     }
    ///     fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         if let Some(sink) = io.event_loop().get_mut(self.0) {
    ///             sink.close_when_done();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// struct Sink;
    /// impl Handler for Sink {}
    ///
    /// use std::io::{Read, Write};
    /// let (source, mut input) = os_pipe::pipe()?;
    /// let (mut output, sink) = os_pipe::pipe()?;
    /// let mut event_loop = EventLoop::new()?;
    /// let to = event_loop.add(FileDispatcher::writer(sink, Sink)?)?;
    /// event_loop.add(FileDispatcher::reader(source, Source(to))?)?;
    /// input.write_all(b"hello")?;
    /// drop(input);
    /// event_loop.run()?;
    /// let mut received = String::new();
    /// output.read_to_string(&mut received)?;
    /// assert_eq!(received, "hello");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing has arrived, or the other channel is
    /// [congested](crate::Endpoint::is_congested): return it, let `readable` return false while the
    /// other is congested, and the handler is called again. `NotFound` if the other channel is gone
    /// (perhaps in this pass), is the handler's own, or is not a dispatcher. `Unsupported` if it
    /// has no buffer. Else as for [`recv`](crate::Endpoint::recv) and
    /// [`send`](crate::Endpoint::send); the error names the descriptor.
    pub fn forward(&mut self, to: impl Into<AnyId>, most: usize) -> Result<usize> {
        let to = to.into();
        if self.id() == to {
            let fd = to.fd();
            let message =
                format!("the channel of fd {fd} cannot forward to itself: send what was received");
            return Err(Error::misuse(io::ErrorKind::NotFound, message));
        }
        let (input, event_loop) = self.parts();
        let Some(output) = event_loop.endpoint_mut(to) else {
            let message = format!(
                "cannot forward to the channel of fd {}: it is gone, or not a dispatcher",
                to.fd()
            );
            return Err(Error::misuse(io::ErrorKind::NotFound, message));
        };
        if !output.is_buffered() {
            let message = format!(
                "cannot forward to the channel of fd {}: it has no buffer; use a \
                 DispatcherWithSend or a FileDispatcher::writer",
                to.fd()
            );
            return Err(Error::misuse(io::ErrorKind::Unsupported, message));
        }
        if output.is_congested() {
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        match input.splice_to(output, most)? {
            Moved::Bytes(n) => return Ok(n),
            Moved::Nothing if input.is_ending() => return Ok(0),
            Moved::Nothing => return Err(io::Error::from(io::ErrorKind::WouldBlock).into()),
            Moved::NotHere => {}
        }
        self.recv_with(most, |io, data| {
            match io.event_loop().endpoint_mut(to) {
                Some(output) => output.send(data)?,
                None => 0,
            };
            Ok(data.len())
        })
    }
}
