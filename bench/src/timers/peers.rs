//! The loops that have timers, each used as its own users would.

use std::cell::Cell;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use fdloop::{EventLoop, TimerId};

use super::{Acts, New, Timers};

/// Beyond this number calloop takes hours: cancelling looks at every timer.
const MOST_OF_CALLOOP: usize = 10_000;

/// All that this program was built with and that can have `n` timers; fdloop is the first.
pub fn all(n: usize) -> Vec<(&'static str, New)> {
    let mut peers: Vec<(&'static str, New)> = vec![("fdloop", || Box::new(Own::new()))];
    peers.push(("tokio", || Box::new(Tokio::new())));
    #[cfg(not(polling_test_poll_backend))]
    if n <= MOST_OF_CALLOOP {
        peers.push(("calloop", || Box::new(Calloop::new())));
    }
    #[cfg(have_libev)]
    peers.push(("libev", || Box::new(c::libev())));
    #[cfg(have_libevent)]
    peers.push(("libevent", || Box::new(c::libevent())));
    peers
}

struct Own {
    event_loop: EventLoop,
    ids: Vec<TimerId>,
    fired: Rc<Cell<usize>>,
}

impl Own {
    fn new() -> Self {
        Self {
            event_loop: EventLoop::new().expect("a loop needs nothing"),
            ids: Vec::new(),
            fired: Rc::default(),
        }
    }
}

/// A callback of the loop.
struct OwnCallback<'a> {
    event_loop: &'a mut EventLoop,
    ids: &'a mut Vec<TimerId>,
    fired: &'a Rc<Cell<usize>>,
}

impl Acts for OwnCallback<'_> {
    fn make(&mut self, delays: &[Duration]) {
        self.ids.clear();
        for delay in delays {
            let fired = Rc::clone(self.fired);
            let id = self.event_loop.call_later(*delay, move |_| {
                fired.set(fired.get() + 1);
                Ok(())
            });
            self.ids.push(id);
        }
    }

    fn cancel(&mut self, order: &[usize]) {
        for index in order {
            assert!(self.event_loop.cancel(self.ids[*index]));
        }
    }
}

impl Timers for Own {
    fn call(&mut self, act: &mut dyn FnMut(&mut dyn Acts)) {
        let (ids, fired) = (&mut self.ids, &self.fired);
        let called = self.event_loop.run_until(|event_loop| {
            act(&mut OwnCallback {
                event_loop,
                ids,
                fired,
            });
            true
        });
        assert!(called.expect("nothing can fail"));
    }

    fn pass(&mut self) -> usize {
        let turn = self.event_loop.turn(Some(Duration::ZERO));
        turn.expect("nothing can fail");
        self.fired.take()
    }
}

/// Counts how often a future is woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Tokio {
    runtime: tokio::runtime::Runtime,
    sleeps: Vec<Option<Pin<Box<tokio::time::Sleep>>>>,
    count: Arc<Count>,
    waker: Waker,
}

impl Tokio {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        Self {
            runtime: builder.enable_time().build().expect("it needs nothing"),
            sleeps: Vec::new(),
            waker: Waker::from(Arc::clone(&count)),
            count,
        }
    }
}

impl Acts for Tokio {
    fn make(&mut self, delays: &[Duration]) {
        self.sleeps.clear();
        let _runtime = self.runtime.enter();
        let mut context = Context::from_waker(&self.waker);
        for delay in delays {
            let mut sleep = Box::pin(tokio::time::sleep(*delay));
            // It is registered when it is first polled.
            if sleep.as_mut().poll(&mut context).is_ready() {
                self.count.0.fetch_add(1, Ordering::Relaxed);
            }
            self.sleeps.push(Some(sleep));
        }
    }

    fn cancel(&mut self, order: &[usize]) {
        for index in order {
            self.sleeps[*index] = None;
        }
    }
}

impl Timers for Tokio {
    fn call(&mut self, act: &mut dyn FnMut(&mut dyn Acts)) {
        act(self);
    }

    fn pass(&mut self) -> usize {
        self.runtime.block_on(tokio::task::yield_now());
        self.count.0.swap(0, Ordering::Relaxed)
    }
}

#[cfg(not(polling_test_poll_backend))]
struct Calloop {
    event_loop: calloop::EventLoop<'static, usize>,
    tokens: Vec<calloop::RegistrationToken>,
}

#[cfg(not(polling_test_poll_backend))]
impl Calloop {
    fn new() -> Self {
        Self {
            event_loop: calloop::EventLoop::try_new().expect("it needs a descriptor"),
            tokens: Vec::new(),
        }
    }
}

#[cfg(not(polling_test_poll_backend))]
impl Acts for Calloop {
    fn make(&mut self, delays: &[Duration]) {
        use calloop::timer::{TimeoutAction, Timer};
        self.tokens.clear();
        let handle = self.event_loop.handle();
        for delay in delays {
            let timer = Timer::from_duration(*delay);
            let token = handle.insert_source(timer, |_, (), fired: &mut usize| {
                *fired += 1;
                TimeoutAction::Drop
            });
            self.tokens.push(token.expect("a timer needs nothing"));
        }
    }

    fn cancel(&mut self, order: &[usize]) {
        let handle = self.event_loop.handle();
        for index in order {
            handle.remove(self.tokens[*index]);
        }
    }
}

#[cfg(not(polling_test_poll_backend))]
impl Timers for Calloop {
    fn call(&mut self, act: &mut dyn FnMut(&mut dyn Acts)) {
        act(self);
    }

    fn pass(&mut self) -> usize {
        let mut fired = 0;
        let dispatched = self.event_loop.dispatch(Duration::ZERO, &mut fired);
        dispatched.expect("nothing can fail");
        mem::take(&mut fired)
    }
}

#[cfg(any(have_libev, have_libevent))]
mod c {
    use std::ffi::c_void;
    use std::time::Duration;

    use super::{Acts, Timers};

    /// The functions of a library, over timers in one array.
    pub struct C {
        state: *mut c_void,
        make: unsafe extern "C" fn(*mut c_void, *const f64, usize),
        cancel: unsafe extern "C" fn(*mut c_void, *const usize, usize),
        fire: unsafe extern "C" fn(*mut c_void) -> usize,
        free: unsafe extern "C" fn(*mut c_void),
        seconds: Vec<f64>,
    }

    macro_rules! library {
        ($name:ident, $new:ident, $make:ident, $cancel:ident, $fire:ident, $free:ident) => {
            pub fn $name() -> C {
                unsafe extern "C" {
                    fn $new() -> *mut c_void;
                    fn $make(state: *mut c_void, seconds: *const f64, count: usize);
                    fn $cancel(state: *mut c_void, order: *const usize, count: usize);
                    fn $fire(state: *mut c_void) -> usize;
                    fn $free(state: *mut c_void);
                }
                C {
                    // SAFETY: it takes nothing.
                    state: unsafe { $new() },
                    make: $make,
                    cancel: $cancel,
                    fire: $fire,
                    free: $free,
                    seconds: Vec::new(),
                }
            }
        };
    }

    #[cfg(have_libev)]
    library!(
        libev,
        libev_timers_new,
        libev_timers_make,
        libev_timers_cancel,
        libev_timers_fire,
        libev_timers_free
    );
    #[cfg(have_libevent)]
    library!(
        libevent,
        libevent_timers_new,
        libevent_timers_make,
        libevent_timers_cancel,
        libevent_timers_fire,
        libevent_timers_free
    );

    impl Acts for C {
        fn make(&mut self, delays: &[Duration]) {
            self.seconds.clear();
            self.seconds
                .extend(delays.iter().map(Duration::as_secs_f64));
            // SAFETY: as many as there are.
            unsafe { (self.make)(self.state, self.seconds.as_ptr(), self.seconds.len()) };
        }

        fn cancel(&mut self, order: &[usize]) {
            // SAFETY: as many as there are, each below the number of timers.
            unsafe { (self.cancel)(self.state, order.as_ptr(), order.len()) };
        }
    }

    impl Timers for C {
        fn call(&mut self, act: &mut dyn FnMut(&mut dyn Acts)) {
            act(self);
        }

        fn pass(&mut self) -> usize {
            // SAFETY: the state is that of the library.
            unsafe { (self.fire)(self.state) }
        }
    }

    impl Drop for C {
        fn drop(&mut self) {
            // SAFETY: it is not used afterwards.
            unsafe { (self.free)(self.state) };
        }
    }
}
