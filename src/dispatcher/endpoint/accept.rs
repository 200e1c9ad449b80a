//! Accepting connections, and refusing them when descriptors run out.

use std::io;
use std::os::fd::AsFd;

use super::super::link::Link;
use super::super::socket::Socket;
use super::Endpoint;
use super::state::{Admission, Listener, Phase};
use crate::address::Address;
use crate::error::{Error, Result, is_passing};
use crate::sys;

/// Connections refused in one call. A flood of them must leave time for other channels.
const REFUSALS: usize = 64;

impl Endpoint {
    /// Accepts a connection. Returns the new socket and the address of its peer, or
    /// `None` if no connection is waiting any more. See accept(2).
    ///
    /// When the process or the system runs out of descriptors (EMFILE, ENFILE), the
    /// waiting connections are refused by means of a descriptor that the listener holds
    /// in reserve; unaccepted, they would keep the loop awake. If the reserve is gone, or
    /// memory is short (ENOBUFS, ENOMEM), or the system forbids it (EPERM), the listener
    /// pauses for 100 ms. Both are logged once, as an error, and end by themselves when
    /// connections can be accepted again.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the channel is not listening; else the errors of accept(2), except
    /// those of a single failed connection.
    pub fn accept(&mut self) -> Result<Option<(Socket, Address)>> {
        self.received = true;
        let fd = self.fd;
        let socket = self.socket_for("accept")?;
        let Phase::Listening(listener) = &self.phase else {
            let message = format!("cannot accept on fd {fd}: it is not listening");
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        };
        match socket.accept() {
            Ok(accepted) => {
                if listener.admission != Admission::Open {
                    self.set_admission(Admission::Open);
                }
                Ok(Some(accepted))
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => {
                    self.refuse(&error);
                    Ok(None)
                }
                // A security module refuses before the connection leaves the queue, so
                // that it would be reported again at once.
                Some(libc::ENOBUFS | libc::ENOMEM | libc::EPERM) => {
                    self.pause(&error);
                    Ok(None)
                }
                Some(errno) if is_passing(errno) => Ok(None),
                _ => Err(Error::system("accept a connection", Some(fd), error)),
            },
        }
    }

    /// Accepts and closes the waiting connections, using the spare descriptor.
    #[cold]
    fn refuse(&mut self, error: &io::Error) {
        self.log_refusing(error);
        self.set_admission(Admission::Refusing);
        let (Some(Link::Socket(socket)), Phase::Listening(listener)) =
            (&self.link, &mut self.phase)
        else {
            return;
        };
        listener.spare = None;
        for _ in 0..REFUSALS {
            if socket.accept().is_err() {
                break;
            }
        }
        listener.take_spare(socket);
        // Another thread may have used the free number meanwhile, and more connections may
        // be waiting.
        if listener.spare.is_none() {
            self.pause(error);
        }
    }

    /// Pauses the listener, since its event would only be reported again.
    #[cold]
    fn pause(&mut self, error: &io::Error) {
        self.log_refusing(error);
        self.set_admission(Admission::Paused);
    }

    fn log_refusing(&self, error: &io::Error) {
        match &self.phase {
            Phase::Listening(listener) if listener.admission == Admission::Open => {
                log::error!("fd {}: refusing connections: {error}", self.fd);
            }
            _ => {}
        }
    }

    #[cold]
    fn set_admission(&mut self, admission: Admission) {
        if let Phase::Listening(listener) = &mut self.phase {
            listener.admission = admission;
        }
    }

    /// Checks whether the listener pauses.
    pub(in crate::dispatcher) fn is_paused(&self) -> bool {
        match &self.phase {
            Phase::Listening(listener) => listener.admission == Admission::Paused,
            _ => false,
        }
    }

    /// Ends the pause.
    pub(in crate::dispatcher) fn resume(&mut self) {
        if !self.is_paused() {
            return;
        }
        if let (Some(Link::Socket(socket)), Phase::Listening(listener)) =
            (&self.link, &mut self.phase)
        {
            listener.admission = Admission::Refusing;
            if listener.spare.is_none() {
                listener.take_spare(socket);
            }
        }
    }
}

impl Listener {
    pub(super) fn of(socket: &Socket) -> Self {
        let mut listener = Self {
            spare: None,
            admission: Admission::Open,
        };
        listener.take_spare(socket);
        listener
    }

    fn take_spare(&mut self, socket: &Socket) {
        self.spare = sys::fd::duplicate(socket.as_fd()).ok();
    }
}
