//! The output side of an endpoint: its buffer, if it has one, and the watermarks.

use super::super::queue::Queue;
use super::Endpoint;
use super::state::Congestion;

/// The output side.
#[derive(Debug)]
pub(in crate::dispatcher) enum Outlet {
    /// A send writes as much as there is room for.
    Direct {
        /// Write events are not asked for: see [`Endpoint::mute_writes`].
        muted: bool,
    },
    /// Output is buffered, and written when there is room. The buffer is allocated on first
    /// use, since most connections are idle.
    Buffered(Option<Box<Buffer>>),
}

/// The pending output and its watermarks.
#[derive(Debug)]
pub(in crate::dispatcher) struct Buffer {
    pub(super) queue: Queue,
    pub(super) low_watermark: usize,
    pub(super) high_watermark: usize,
}

impl Default for Buffer {
    /// See [`Endpoint::set_watermarks`].
    fn default() -> Self {
        Self {
            queue: Queue::default(),
            low_watermark: 16 * 1024,
            high_watermark: 64 * 1024,
        }
    }
}

impl Outlet {
    pub(super) fn new(buffered: bool) -> Self {
        if buffered {
            Self::Buffered(None)
        } else {
            Self::Direct { muted: false }
        }
    }

    pub(super) fn is_buffered(&self) -> bool {
        matches!(self, Self::Buffered(_))
    }

    /// Returns the buffer, if it is allocated.
    pub(super) fn buffer(&self) -> Option<&Buffer> {
        match self {
            Self::Buffered(Some(buffer)) => Some(buffer),
            Self::Buffered(None) | Self::Direct { .. } => None,
        }
    }

    /// Returns the queue, if a buffer is allocated.
    pub(in crate::dispatcher) fn queue_mut(&mut self) -> Option<&mut Queue> {
        match self {
            Self::Buffered(Some(buffer)) => Some(&mut buffer.queue),
            Self::Buffered(None) | Self::Direct { .. } => None,
        }
    }

    /// Returns the buffer of a buffered output; allocates it if necessary.
    pub(super) fn buffer_mut(&mut self) -> Option<&mut Buffer> {
        match self {
            Self::Buffered(buffer) => Some(buffer.get_or_insert_default()),
            Self::Direct { .. } => None,
        }
    }
}

impl Endpoint {
    /// Returns true if output is buffered and written when there is room, as in a
    /// [`DispatcherWithSend`](crate::DispatcherWithSend).
    #[must_use]
    pub fn is_buffered(&self) -> bool {
        self.outlet.is_buffered()
    }

    /// Returns the number of bytes of pending output. Always 0 without a buffer.
    #[must_use]
    pub fn pending(&self) -> usize {
        let buffer = self.outlet.buffer();
        buffer.map_or(0, |buffer| buffer.queue.pending())
    }

    /// Makes [`writable`](Endpoint::writable) return false from now on, without a buffer.
    /// The default `handle_write` calls this, since a loop that wakes for unhandled write
    /// events would spin.
    pub(crate) fn mute_writes(&mut self) {
        if let Outlet::Direct { muted } = &mut self.outlet {
            *muted = true;
        }
    }

    /// Sets the watermarks of the output, in bytes: it is
    /// [`congested`](Endpoint::is_congested) from when `high` bytes are pending until no more
    /// than `low` are. 16,384 and 65,536 unless set; `low` is cut to `high`. Without a buffer
    /// this has no effect.
    pub fn set_watermarks(&mut self, low: usize, high: usize) {
        let Some(buffer) = self.outlet.buffer_mut() else {
            return;
        };
        buffer.low_watermark = low.min(high);
        buffer.high_watermark = high;
        if buffer.queue.pending() >= high.max(1) {
            self.congestion = Congestion::Congested;
        } else if self.congestion == Congestion::Congested {
            // A handler may be waiting for `handle_drain`.
            self.congestion = Congestion::Drained;
        }
    }

    /// Returns true if so much output is pending that its source should pause: from when the
    /// high watermark is reached until the low one is.
    /// [`handle_drain`](crate::Handler::handle_drain) is called then.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.congestion == Congestion::Congested
    }

    /// Sets whether the channel stops reading while its own output is
    /// [congested](Endpoint::is_congested), so that a peer that sends and does not read
    /// cannot make the output grow without bound. Off unless set.
    ///
    /// This is for a channel whose output is made of its own input, as in most servers. If
    /// both peers of a connection did this, and each sent more than the buffers hold before it
    /// reads, they would deadlock.
    ///
    /// Without a buffer this has no effect.
    pub fn set_backpressure(&mut self, on: bool) {
        self.backpressure = on;
    }

    /// Checks whether reading pauses until the output has drained.
    #[inline]
    pub(in crate::dispatcher) fn is_held_back(&self) -> bool {
        self.backpressure && self.is_congested()
    }

    /// Checks whether `handle_drain` is due, for which the loop waits for a write event.
    pub(in crate::dispatcher) fn is_drain_due(&self) -> bool {
        self.congestion == Congestion::Drained
    }

    /// Sets the number of bytes taken from a producer ahead of a write; 65,536
    /// unless set. asynchat's `ac_out_buffer_size`.
    pub fn set_out_buffer_size(&mut self, bytes: usize) {
        if let Some(buffer) = self.outlet.buffer_mut() {
            buffer.queue.set_pull(bytes);
        }
    }

    /// Returns the number of bytes taken from a producer ahead of a write; 0 without a
    /// buffer.
    #[must_use]
    pub fn out_buffer_size(&self) -> usize {
        match &self.outlet {
            Outlet::Direct { .. } => 0,
            Outlet::Buffered(None) => Buffer::default().queue.pull(),
            Outlet::Buffered(Some(buffer)) => buffer.queue.pull(),
        }
    }
}
