//! Receiving.

use std::io;

use super::super::link::{Link, uninterrupted};
use super::Endpoint;
use super::state::{Flow, Input, Phase};
use crate::address::Address;
use crate::error::{Error, Result};

/// Unhandled priority events tolerated in a row.
const UNHANDLED_PRIORITY: u8 = 64;

/// Read events in a row without a receive, after which a warning is logged.
const UNREAD_EVENTS: u16 = 1_000;

impl Endpoint {
    /// Receives at most `buf.len()` bytes. Returns the number received. See recv(2).
    ///
    /// 0 means end of file, or a lost connection. The dispatcher then calls `handle_eof` or
    /// `handle_close` when the handler returns, so a handler need not check for it. (A
    /// datagram can be empty, and an empty `buf` receives nothing.)
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing has arrived: return it, and the handler is called again.
    /// `NotConnected` if the channel is closed, has no socket, or is a listener. Else the
    /// transport's errors, except those that mean a lost connection.
    #[inline]
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.received = true;
        match (&self.link, &self.phase) {
            (Some(Link::Socket(socket)), Phase::Connected) if !buf.is_empty() => {
                match socket.recv(buf) {
                    Ok(n) if n > 0 => {
                        self.note_activity();
                        Ok(n)
                    }
                    result => self.received_nothing(result, buf),
                }
            }
            _ => self.recv_unusual(buf),
        }
    }

    /// Continues a receive that got no data.
    #[cold]
    fn received_nothing(&mut self, result: io::Result<usize>, buf: &mut [u8]) -> Result<usize> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.recv_unusual(buf),
            result => self.received(result),
        }
    }

    #[inline(never)]
    fn recv_unusual(&mut self, buf: &mut [u8]) -> Result<usize> {
        if self.accepting() {
            return Err(self.listens("receive"));
        }
        let link = self.link_for("receive")?;
        if buf.is_empty() {
            return Ok(0);
        }
        let result = uninterrupted(|| link.recv(buf));
        if self.connecting() && !matches!(result, Ok(1..)) {
            // This is not the end of a connection: the next event reports that, if it has ended.
            if let Err(error) = result {
                self.failed_early(error);
            }
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        if matches!(self.link, Some(Link::Replay(_))) {
            self.link = self.link.take().map(Link::without_spent);
        }
        self.check_held();
        self.received(result)
    }

    /// Interprets what the transport returned.
    fn received(&mut self, result: io::Result<usize>) -> Result<usize> {
        match result {
            Ok(0) if self.link.as_ref().is_some_and(Link::is_stream) => {
                self.end_input();
                Ok(0)
            }
            Ok(n) => {
                self.note_activity();
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error.into()),
            Err(error) => {
                let verb = self.link.as_ref().map_or("receive", |link| link.verbs()[0]);
                self.lost(Error::system(verb, Some(self.fd), error))
            }
        }
    }

    #[cold]
    pub(super) fn listens(&self, action: &str) -> Error {
        // The error that the system would return, with a message that says what to do.
        Error::system(
            format!("{action} on a listener; accept a connection and use that"),
            Some(self.fd),
            io::Error::from_raw_os_error(libc::ENOTCONN),
        )
    }

    /// Handles the end of the input.
    fn end_input(&mut self) {
        if self.input_ended() {
            return;
        }
        // After a failed send, the channel ends here. If the send found a reset, the input did
        // not end but was cut off, even though the socket no longer reports that.
        if self.is_broken() {
            self.make_close_due();
        }
        if self.has_output() && self.link.as_ref().is_some_and(Link::has_hung_up) {
            self.lose_output();
        }
        let cut_off = self.is_broken() && !self.is_broken_pipe();
        if !cut_off {
            self.input = Input::Ended;
        }
    }

    /// Makes the channel one that only writes, as [`FileDispatcher::writer`] does: the loop never
    /// waits for input, `handle_read` and `handle_eof` are not called, and
    /// [`input_ended`](Endpoint::input_ended) is true from now on.
    ///
    /// [`FileDispatcher::writer`]: crate::FileDispatcher::writer
    pub fn set_write_only(&mut self) {
        self.input = Input::Over;
    }

    /// Goes on reading after the input has ended, for an override of
    /// [`handle_eof`](crate::Handler::handle_eof): a FIFO then waits for its next writer,
    /// and a terminal for input after the end-of-file character (Ctrl-D).
    /// [`input_ended`](Endpoint::input_ended) is false again, and `handle_read` is called
    /// when there is something to read. Does nothing if the input has not ended.
    ///
    /// Data that a writer put into a FIFO between the end of file and this call is read. If
    /// that writer is gone as well, its end of file is not reported.
    ///
    /// A FIFO is opened again through `/proc`, so it can be re-armed on Linux and Android
    /// alone. Elsewhere, open it for reading and writing: its input then never ends.
    ///
    /// ```
    /// use fdloop::{EventLoop, FileDispatcher, Handler, Io, Result, View};
    /// use std::io::Write;
    /// use std::os::unix::fs::OpenOptionsExt;
    ///
    /// /// Takes commands until one says to stop, from any number of writers.
    /// struct Commands(Vec<u8>);
    ///
    /// impl Handler for Commands {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 512];
    ///         let n = io.recv(&mut buf)?;
    ///         self.0.extend_from_slice(&buf[..n]);
    ///         if self.0.ends_with(b"stop\n") {
    ///             io.close();
    ///         }
    ///         Ok(())
    ///     }
    ///     fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         io.rearm_input() // the writer has left: wait for the next one
    ///     }
    ///     fn writable(&self, _: &View<'_>) -> bool {
    ///         false
    ///     }
    /// }
    ///
    /// let path = std::env::temp_dir().join(format!("commands-{}", std::process::id()));
    /// nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU)?;
    /// let fifo = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.add(FileDispatcher::new(fifo, Commands(Vec::new()))?)?;
    /// # let name = path.clone();
    /// let writers = std::thread::spawn(move || {
    ///     for command in ["start\n", "stop\n"] {
    ///         let mut fifo = std::fs::File::options().write(true).open(&path)?;
    ///         fifo.write_all(command.as_bytes())?;
    ///     }
    ///     std::io::Result::Ok(())
    /// });
    /// # if cfg!(target_os = "linux") {
    /// event_loop.run()?;
    /// # }
    /// writers.join().unwrap()?;
    /// # std::fs::remove_file(name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the terminal has hung up: returned from `handle_eof`, it ends the
    /// channel. `Unsupported` for sockets, pipes without a name, regular files and other
    /// transports that cannot have more input, and for a FIFO that cannot be opened again.
    /// `NotConnected` if the channel is closed or closing. Else the errors of
    /// [`Transport::rearm`](crate::Transport::rearm).
    pub fn rearm_input(&mut self) -> Result<()> {
        self.link_for("re-arm the input")?;
        if !self.input_ended() {
            return Ok(());
        }
        // The writer's hang-up ends a channel that was not reading at that time. Such an end
        // is revoked here.
        let by_hangup = self.is_broken() && self.reason.is_none();
        if self.is_ending() && !by_hangup {
            let message = format!(
                "cannot re-arm the input of fd {}: the channel is closing; make a new one",
                self.fd
            );
            return Err(Error::misuse(io::ErrorKind::NotConnected, message));
        }
        self.rearm_link()?;
        self.replaced = true;
        self.input = Input::Open;
        if by_hangup {
            self.put_off_close();
            self.flow = Flow::Clear;
        }
        Ok(())
    }

    /// Ends the input as soon as nothing more can be read at once, as if the last writer had left.
    /// Data written before this call is read, and `handle_eof` follows. Use it for the output
    /// of a program that has exited while another process, such as a daemon that the program has
    /// started, holds the other side of the pipe or terminal.
    ///
    /// Without this call, the input ends with the last process that holds the other side.
    ///
    /// ```
    /// use fdloop::{EventLoop, FileDispatcher, Handler, Io, Result};
    /// use std::io::Write;
    ///
    /// struct Output(Vec<u8>);
    /// impl Handler for Output {
    ///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         let mut buf = [0; 512];
    ///         let n = io.recv(&mut buf)?;
    ///         self.0.extend_from_slice(&buf[..n]);
    ///         Ok(())
    ///     }
    ///     fn handle_close(&mut self, _: &mut Io<'_>) -> Result<()> {
    ///         assert_eq!(self.0, b"the last words");
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = os_pipe::pipe()?;
    /// writer.write_all(b"the last words")?;
    /// let mut event_loop = EventLoop::new()?;
    /// let output = event_loop.add(FileDispatcher::reader(reader, Output(Vec::new()))?)?;
    /// if let Some(output) = event_loop.get_mut(output) {
    ///     output.end_input_when_empty()?;
    /// }
    /// event_loop.run()?; // `writer` is still open
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Unsupported` for sockets, whose data may still be on its way, and for transports that
    /// do not implement [`end_when_empty`](crate::Transport::end_when_empty). `NotConnected` if
    /// the channel is closed.
    pub fn end_input_when_empty(&mut self) -> Result<()> {
        let fd = self.fd;
        let link = self.link_for("end the input")?;
        link.end_when_empty().map_err(|error| {
            let message = format!("cannot end the input of fd {fd}: {error}");
            Error::misuse(error.kind(), message)
        })?;
        self.check_held();
        Ok(())
    }

    fn rearm_link(&mut self) -> Result<()> {
        let fd = self.fd;
        match self.link_for("re-arm the input")?.rearm() {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let message = format!("cannot re-arm the input of fd {fd}: {error}");
                Err(Error::misuse(io::ErrorKind::Unsupported, message))
            }
            result => result.map_err(|e| Error::system("re-arm the input", Some(fd), e)),
        }
    }

    /// Begins the call of a handler that is to receive or accept.
    #[inline]
    pub(in crate::dispatcher) fn begin_reader(&mut self) {
        self.sent = false;
        self.received = false;
        self.unhandled_priority = 0;
    }

    /// Ends that call. A handler that never receives gets the same event in every pass, which
    /// keeps the loop awake.
    #[inline]
    pub(in crate::dispatcher) fn end_reader(&mut self) {
        if self.received {
            self.unread_events = 0;
        } else {
            self.note_unread();
        }
    }

    #[cold]
    fn note_unread(&mut self) {
        self.unread_events = self.unread_events.saturating_add(1);
        if self.unread_events == UNREAD_EVENTS && self.has_events() {
            let remedy = if self.accepting() {
                "call `accept` in `handle_accept`"
            } else {
                "call `recv` in `handle_read`"
            };
            log::warn!(
                "{self}: {UNREAD_EVENTS} read events in a row, and the handler took nothing, so \
                 the loop does not sleep: {remedy}, or let `readable` return false"
            );
        }
    }

    /// Counts a priority event that was not handled. It would be reported again for ever:
    /// after [`UNHANDLED_PRIORITY`] in a row, none is asked for until the next read event.
    pub(crate) fn note_unhandled_priority(&mut self) {
        // A poller of the program's may report readiness that is not of interest.
        self.unhandled_priority = self.unhandled_priority.saturating_add(1);
    }

    /// Checks whether priority events are asked for.
    pub(in crate::dispatcher) fn wants_priority(&self) -> bool {
        self.unhandled_priority < UNHANDLED_PRIORITY
    }

    /// Receives at most `buf.len()` bytes of out-of-band data (TCP has one byte).
    /// See `MSG_OOB` in recv(2).
    ///
    /// # Errors
    ///
    /// `Unsupported` if the transport is not a socket; `NotConnected` if the channel
    /// is closed; `InvalidInput` if no such data has arrived; else as for
    /// [`recv`](Endpoint::recv).
    pub fn recv_oob(&mut self, buf: &mut [u8]) -> Result<usize> {
        let result = self.socket_for("receive out of band")?.recv_oob(buf);
        if result.is_ok() {
            self.note_activity();
        }
        result.or_else(|e| self.lost(Error::system("receive out of band", Some(self.fd), e)))
    }

    /// Receives a datagram, cut to `buf.len()` bytes. Returns its length and the address of
    /// its sender. See recvfrom(2).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if none has arrived; `Unsupported` if the transport is not a socket;
    /// `NotConnected` if the channel is closed; else the errors of recvfrom(2).
    pub fn recv_from(&mut self, buf: &mut [u8]) -> Result<(usize, Address)> {
        let received = self.socket_for("receive a datagram")?.recv_from(buf);
        if received.is_ok() {
            self.note_activity();
        }
        received.map_err(|e| Error::system("receive a datagram", Some(self.fd), e))
    }
}
