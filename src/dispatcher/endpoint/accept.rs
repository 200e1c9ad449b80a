//! Accepting connections, and refusing them where there are too many.

use std::io;
use std::os::fd::AsFd;

use super::super::socket::Socket;
use super::{Endpoint, Flags, Stage};
use crate::address::Address;
use crate::error::{Error, Result};
use crate::sys;

/// How many connections are refused at once, so that a flood of them leaves time
/// for the channels that exist.
const REFUSALS: usize = 64;

impl Endpoint {
    /// Accepts a connection: the new socket and the address of its peer, or
    /// `None` if there is none after all. See accept(2).
    ///
    /// When the process or the system has too many descriptors (EMFILE, ENFILE),
    /// the connections that wait are refused, with one that the listener holds in
    /// reserve: left alone, they would keep the loop awake. That is logged once,
    /// as an error, and ends by itself when there are descriptors again.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is not listening; else what accept(2) answers for
    /// reasons other than that a connection came to nothing.
    pub fn accept(&mut self) -> Result<Option<(Socket, Address)>> {
        let fd = self.fd;
        let socket = self.socket_for("accept")?;
        if self.stage != Stage::Accepting {
            let message = format!("cannot accept on fd {fd}: it is not listening");
            return Err(Error::misuse(io::ErrorKind::InvalidInput, message));
        }
        match socket.accept() {
            Ok(accepted) => {
                self.set(Flags::REFUSING, false);
                Ok(Some(accepted))
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => {
                    self.refuse(&error);
                    Ok(None)
                }
                Some(errno) if is_passing(errno) => Ok(None),
                _ => Err(Error::system("accept a connection", Some(fd), error)),
            },
        }
    }

    /// Accepts what waits and closes it, with the spare descriptor.
    #[cold]
    fn refuse(&mut self, error: &io::Error) {
        if !self.is(Flags::REFUSING) {
            log::error!("fd {}: refusing connections: {error}", self.fd);
            self.set(Flags::REFUSING, true);
        }
        let Some(socket) = self.link.as_ref().and_then(|link| link.socket()) else {
            return;
        };
        self.spare = None;
        for _ in 0..REFUSALS {
            if socket.accept().is_err() {
                break;
            }
        }
        // Should another thread have taken its place meanwhile, there is none the
        // next time either, and the loop asks until there is.
        self.spare = sys::fd::duplicate(socket.as_fd()).ok();
    }
}

/// Whether accept(2) failed for a reason of one connection's, or for one that
/// passes. Linux hands errors that wait on the new connection to whoever accepts
/// it; its manual says to treat them like EAGAIN.
fn is_passing(errno: i32) -> bool {
    matches!(
        errno,
        libc::EAGAIN
            | libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::EPERM
            | libc::ENOBUFS
            | libc::ENOMEM
    )
}
