//! Implementations for boxes of handlers, transports and producers, so that a program can
//! choose one at run time.

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};

use log::Level;

use super::handler::Handler;
use super::io::{Io, View};
use super::producer::Producer;
use super::socket::Socket;
use super::transport::{Passage, Transport};
use crate::address::Address;
use crate::error::{Error, Result};
use crate::event_loop::Predicates;

impl<H: Handler + ?Sized> Handler for Box<H> {
    fn readable(&self, io: &View<'_>) -> bool {
        (**self).readable(io)
    }
    fn writable(&self, io: &View<'_>) -> bool {
        (**self).writable(io)
    }
    fn predicates(&self) -> Predicates {
        (**self).predicates()
    }
    fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_read(io)
    }
    fn handle_write(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_write(io)
    }
    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_drain(io)
    }
    fn handle_timeout(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_timeout(io)
    }
    fn handle_expt(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_expt(io)
    }
    fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_connect(io)
    }
    fn handle_accept(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_accept(io)
    }
    fn handle_accepted(&mut self, io: &mut Io<'_>, socket: Socket, peer: Address) -> Result<()> {
        (**self).handle_accepted(io, socket, peer)
    }
    fn handle_accept_error(&mut self, io: &mut Io<'_>, peer: Address, error: Error) -> Result<()> {
        (**self).handle_accept_error(io, peer, error)
    }
    fn handle_eof(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_eof(io)
    }
    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        (**self).handle_close(io)
    }
    fn handle_error(&mut self, io: &mut Io<'_>, error: Error) -> Result<()> {
        (**self).handle_error(io, error)
    }
    fn log(&mut self, io: &mut Io<'_>, message: &str) -> Result<()> {
        (**self).log(io, message)
    }
    fn log_info(&mut self, io: &mut Io<'_>, message: &str, level: Level) -> Result<()> {
        (**self).log_info(io, message, level)
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).as_fd()
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (**self).recv(buf)
    }
    fn raw_fd(&self) -> RawFd {
        (**self).raw_fd()
    }
    fn holds_input(&self) -> bool {
        (**self).holds_input()
    }
    fn has_unread(&self) -> bool {
        (**self).has_unread()
    }
    fn outlives_input(&self) -> bool {
        (**self).outlives_input()
    }
    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        (**self).take_error()
    }
    fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        (**self).send(data)
    }
    fn send_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (**self).send_vectored(bufs)
    }
    fn passage(&self) -> Option<Passage> {
        (**self).passage()
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        (**self).shutdown_write()
    }
    fn reset_on_close(&mut self) -> io::Result<()> {
        (**self).reset_on_close()
    }
    fn rearm(&mut self) -> io::Result<()> {
        (**self).rearm()
    }
    fn end_when_empty(&mut self) -> io::Result<()> {
        (**self).end_when_empty()
    }
    fn close(self: Box<Self>) -> io::Result<()> {
        (*self).close()
    }
    fn forget(self: Box<Self>) {
        (*self).forget();
    }
}

impl<P: Producer + ?Sized> Producer for Box<P> {
    fn more(&mut self) -> Result<Vec<u8>> {
        (**self).more()
    }
}
