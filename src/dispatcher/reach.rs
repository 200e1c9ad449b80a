//! Reaching the endpoint of a dispatcher of any type.

use super::endpoint::Endpoint;
use crate::event_loop::{AnyId, EventLoop};

impl EventLoop {
    /// Returns the endpoint of a dispatcher, a chat or a file. `None` if the channel is
    /// gone, one of its methods runs, or it is not a dispatcher.
    #[must_use]
    pub fn endpoint(&self, id: impl Into<AnyId>) -> Option<&Endpoint> {
        self.part(id)
    }

    /// Returns the endpoint of a dispatcher, a chat or a file, to send to it or close it, so
    /// that a handler need not know the type of its partner. `None` if the channel is gone, one
    /// of its methods runs, or it is not a dispatcher. Duties that become due are done as for
    /// [`get_mut`](EventLoop::get_mut).
    ///
    /// ```
    /// use fdloop::{
    ///     AnyId, DispatcherWithSend, EventLoop, FileDispatcher, Handler, Io, Result, Socket,
    /// };
    ///
    /// /// Sends what it reads to its partner, of any kind.
    /// struct Copy(AnyId);
    /// impl Handler for Copy {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 4096];
    ///         let n = io.recv(&mut buf)?;
    ///         if let Some(partner) = io.event_loop().endpoint_mut(self.0) {
    ///             partner.send(&buf[..n])?;
    ///         }
    ///         Ok(())
    ///     }
    ///     fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         if let Some(partner) = io.event_loop().endpoint_mut(self.0) {
    ///             partner.close_when_done();
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// let (ours, theirs) = Socket::pair()?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add_with(|event_loop, file| {
    ///     let socket = event_loop.add(DispatcherWithSend::new(ours, Copy(file.into()))?)?;
    ///     FileDispatcher::new(reader, Copy(socket.into()))
    /// })?;
    /// std::io::Write::write_all(&mut writer, b"hello")?;
    /// drop(writer);
    /// event_loop.run()?;
    /// let mut theirs = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(theirs));
    /// assert_eq!(std::io::read_to_string(&mut theirs)?, "hello");
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    #[must_use]
    pub fn endpoint_mut(&mut self, id: impl Into<AnyId>) -> Option<&mut Endpoint> {
        self.part_mut(id)
    }
}
