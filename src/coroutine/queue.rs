//! Queues through which handlers and coroutines of one thread feed each other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

/// Makes a queue of at most `capacity` values, and at least one.
///
/// For backpressure, a handler returns false from `readable` while the queue is
/// [full](QueueSender::is_full), so that the peer of its channel waits. Such a predicate depends on
/// more than its own channel, so leave [`Predicates::EveryPass`](crate::Predicates::EveryPass) set,
/// which is the default.
///
/// ```
/// use fdloop::{Dispatcher, EventLoop, Handler, Io, QueueSender, Result, View, queue};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// /// Feeds a coroutine.
/// struct Feeder(QueueSender<Vec<u8>>);
/// impl Handler for Feeder {
///     fn readable(&self, _: &View<'_>) -> bool {
///         !self.0.is_full()
///     }
///     fn handle_read(&mut self, io: &mut Io<'_>) -> Result<()> {
///         let mut buf = [0; 5];
///         let n = io.recv(&mut buf)?;
///         if n > 0 {
///             let _ = self.0.push(buf[..n].to_vec()); // there is room
///         }
///         Ok(())
///     }
/// }
///
/// let (ours, mut theirs) = UnixStream::pair()?;
/// let mut event_loop = EventLoop::new()?;
/// let (sender, mut receiver) = queue(2);
/// event_loop.add(Dispatcher::new(ours, Feeder(sender))?)?;
/// theirs.write_all(b"fed to a coroutine")?;
/// drop(theirs);
/// let fed = event_loop.block_on(async move {
///     let mut all = Vec::new();
///     while let Some(piece) = receiver.next().await {
///         all.extend(piece);
///     }
///     all
/// })?;
/// assert_eq!(fed, b"fed to a coroutine");
/// # Ok::<(), fdloop::Error>(())
/// ```
#[must_use]
pub fn queue<T>(capacity: usize) -> (QueueSender<T>, QueueReceiver<T>) {
    let state = Rc::new(RefCell::new(State {
        values: VecDeque::new(),
        capacity: capacity.max(1),
        senders: 1,
        receiver: true,
        receiving: None,
        sending: Vec::new(),
        takes: 0,
    }));
    (QueueSender(Rc::clone(&state)), QueueReceiver(state))
}

/// Makes a queue without a limit, for values that are few by themselves.
#[must_use]
pub fn unbounded_queue<T>() -> (QueueSender<T>, QueueReceiver<T>) {
    queue(usize::MAX)
}

struct State<T> {
    values: VecDeque<T>,
    capacity: usize,
    senders: usize,
    /// True while the receiver exists.
    receiver: bool,
    receiving: Option<Waker>,
    sending: Vec<Waker>,
    /// The number of times that the wakers in `sending` were taken.
    takes: u64,
}

impl<T> State<T> {
    fn is_full(&self) -> bool {
        self.receiver && self.values.len() >= self.capacity
    }

    /// Adds the waker of a sender, or puts it into the sender's `place`, which is updated. Returns
    /// the waker that it replaces.
    fn wait_to_send(&mut self, place: &mut Option<(u64, usize)>, waker: &Waker) -> Option<Waker> {
        if let Some((takes, at)) = *place {
            if takes == self.takes {
                let known = self.sending.get_mut(at)?;
                return Some(std::mem::replace(known, waker.clone()));
            }
        }
        *place = Some((self.takes, self.sending.len()));
        self.sending.push(waker.clone());
        None
    }

    fn take_sending(&mut self) -> Vec<Waker> {
        self.takes += 1;
        std::mem::take(&mut self.sending)
    }
}

/// Adds values to a [`queue`]. It can be cloned.
pub struct QueueSender<T>(Rc<RefCell<State<T>>>);

impl<T> QueueSender<T> {
    /// Adds a value.
    ///
    /// # Errors
    ///
    /// The value, if the queue is full or its receiver was dropped.
    pub fn push(&self, value: T) -> Result<(), T> {
        let mut state = self.0.borrow_mut();
        if !state.receiver || state.is_full() {
            return Err(value);
        }
        state.values.push_back(value);
        let waker = state.receiving.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Adds a value, and waits until there is room for it.
    ///
    /// # Errors
    ///
    /// The value, if the receiver was dropped.
    pub async fn send(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        let mut place = None;
        poll_fn(|cx| {
            let Some(next) = value.take() else {
                return Poll::Ready(Ok(()));
            };
            match self.push(next) {
                Err(next) if self.is_full() => {
                    value = Some(next);
                    let before = self.0.borrow_mut().wait_to_send(&mut place, cx.waker());
                    drop(before);
                    Poll::Pending
                }
                result => Poll::Ready(result),
            }
        })
        .await
    }

    /// Checks whether the queue is full. Returns false if the receiver was dropped.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.borrow().is_full()
    }

    /// Checks whether the receiver was dropped: every later value is refused.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.0.borrow().receiver
    }
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.0.borrow_mut().senders += 1;
        Self(Rc::clone(&self.0))
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.senders -= 1;
        let waker = (state.senders == 0).then(|| state.receiving.take());
        drop(state);
        if let Some(Some(waker)) = waker {
            waker.wake();
        }
    }
}

/// Takes values from a [`queue`], in the order in which they were added. It is also a stream, which
/// ends after the last sender was dropped.
pub struct QueueReceiver<T>(Rc<RefCell<State<T>>>);

impl<T> QueueReceiver<T> {
    /// Waits for the next value. Returns `None` once the queue is empty and all senders were
    /// dropped.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Takes the next value if there is one.
    pub fn try_next(&mut self) -> Option<T> {
        let mut state = self.0.borrow_mut();
        let value = state.values.pop_front()?;
        let wakers = state.take_sending();
        drop(state);
        for waker in wakers {
            waker.wake();
        }
        Some(value)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(value) = self.try_next() {
            return Poll::Ready(Some(value));
        }
        let mut state = self.0.borrow_mut();
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        let before = state.receiving.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl<T> Stream for QueueReceiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll(cx)
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.receiver = false;
        let values = std::mem::take(&mut state.values);
        let wakers = state.take_sending();
        drop(state);
        drop(values);
        for waker in wakers {
            waker.wake();
        }
    }
}

impl<T> fmt::Debug for QueueSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSender")
            .field("full", &self.is_full())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for QueueReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueReceiver")
            .field("waiting", &self.0.borrow().values.len())
            .finish_non_exhaustive()
    }
}
