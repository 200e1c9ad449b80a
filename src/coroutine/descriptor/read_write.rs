//! `AsyncRead` and `AsyncWrite` over a descriptor.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::Async;
use crate::coroutine::source::{Key, Side, Source};

impl<T: 'static> Async<T> {
    /// The value, and what its calls need beside it.
    fn parts(&mut self) -> (Calls<'_>, &mut T) {
        let calls = Calls {
            source: &self.source,
            direct: self.kind.direct,
        };
        match &mut self.value {
            Some(value) => (calls, value),
            None => unreachable!("the value is taken when the whole is consumed"),
        }
    }

    fn shared_parts(&self) -> (Calls<'_>, &T) {
        let calls = Calls {
            source: &self.source,
            direct: self.kind.direct,
        };
        (calls, self.get_ref())
    }
}

/// The calls that `poll_read` and `poll_write` make.
struct Calls<'a> {
    source: &'a Source,
    direct: bool,
}

impl Calls<'_> {
    /// Makes a call that moves at most `size` bytes. After one that moved less, the next would
    /// block: waiting for the descriptor first saves that system call. The end of file is not
    /// short.
    #[inline(always)]
    fn poll(
        &self,
        side: Side,
        cx: &mut Context<'_>,
        size: usize,
        call: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let moved = ready!(self.source.poll_call(side, Key::POLL, cx, call))?;
        if self.direct && (1..size).contains(&moved) {
            self.source.exhaust(side);
        }
        Poll::Ready(Ok(moved))
    }

    /// Makes a call whose result does not show if the next one would block.
    fn poll_once<R>(
        &self,
        side: Side,
        cx: &mut Context<'_>,
        call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source.poll_call(side, Key::POLL, cx, call)
    }
}

impl<T: Read> AsyncRead for Async<T> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (calls, value) = self.parts();
        calls.poll(Side::Read, cx, buf.len(), || value.read(buf))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let (calls, value) = self.parts();
        calls.poll_once(Side::Read, cx, || value.read_vectored(bufs))
    }
}

impl<T> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (calls, mut value) = self.shared_parts();
        calls.poll(Side::Read, cx, buf.len(), || value.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let (calls, mut value) = self.shared_parts();
        calls.poll_once(Side::Read, cx, || value.read_vectored(bufs))
    }
}

impl<T: Write> AsyncWrite for Async<T> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (calls, value) = self.parts();
        calls.poll(Side::Write, cx, data.len(), || value.write(data))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (calls, value) = self.parts();
        calls.poll_once(Side::Write, cx, || value.write_vectored(bufs))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (calls, value) = self.parts();
        calls.poll_once(Side::Write, cx, || value.flush())
    }

    /// Flushes, and ends the output of a socket. The input stays open.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready((self.kind.end_output)(self.shared_parts().1))
    }
}

impl<T> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (calls, mut value) = self.shared_parts();
        calls.poll(Side::Write, cx, data.len(), || value.write(data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (calls, mut value) = self.shared_parts();
        calls.poll_once(Side::Write, cx, || value.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (calls, mut value) = self.shared_parts();
        calls.poll_once(Side::Write, cx, || value.flush())
    }

    /// Flushes, and ends the output of a socket. The input stays open.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready((self.kind.end_output)(self.shared_parts().1))
    }
}
