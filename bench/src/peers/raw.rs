//! The loops written by hand, in C: what the others are measured by.

use std::ffi::{c_int, c_void};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::{Call, Peer, Result};
use crate::ring::{Ring, RingLoop, Shared};

pub type Run = unsafe extern "C" fn(*mut c_void, *const Shared);
pub type Free = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn raw_poll_new(ring: *const Shared) -> *mut c_void;
    fn raw_poll_run(state: *mut c_void, ring: *const Shared);
    fn raw_poll_free(state: *mut c_void);
    fn raw_poll_echo(listener: c_int);
    fn raw_select_new(ring: *const Shared) -> *mut c_void;
    fn raw_select_run(state: *mut c_void, ring: *const Shared);
    fn raw_select_free(state: *mut c_void);
    fn raw_select_echo(listener: c_int);
    fn raw_epoll_new(ring: *const Shared) -> *mut c_void;
    fn raw_epoll_run(state: *mut c_void, ring: *const Shared);
    fn raw_epoll_free(state: *mut c_void);
    fn raw_epoll_echo(listener: c_int);
}

macro_rules! peer {
    ($name:literal, $call:expr, $new:ident, $run:ident, $free:ident, $echo:ident) => {
        Peer {
            name: $name,
            call: $call,
            ring: Some(|ring, sides| {
                // SAFETY: the ring is laid out as C expects it, and outlives its loop.
                let state = unsafe { $new(ring.as_c()) };
                CRing::over(ring, sides, state, $run, $free)
            }),
            echo: Some(|listener| {
                // SAFETY: the listener is open.
                CEcho(|fd| unsafe {
                    $echo(fd);
                    0
                })
                .serve(listener)
            }),
        }
    };
}

pub const PEERS: &[Peer] = &[
    peer!(
        "raw/select",
        Call::Select,
        raw_select_new,
        raw_select_run,
        raw_select_free,
        raw_select_echo
    ),
    peer!(
        "raw/poll",
        Call::Poll,
        raw_poll_new,
        raw_poll_run,
        raw_poll_free,
        raw_poll_echo
    ),
    peer!(
        "raw/epoll",
        Call::Epoll,
        raw_epoll_new,
        raw_epoll_run,
        raw_epoll_free,
        raw_epoll_echo
    ),
];

/// A loop in C that serves a ring.
pub struct CRing {
    state: *mut c_void,
    run: Run,
    free: Free,
    ring: Rc<Ring>,
    _sides: Vec<UnixStream>,
}

impl CRing {
    /// Over a state that a constructor in C has made, or null if it could not.
    pub fn over(
        ring: &Rc<Ring>,
        sides: Vec<UnixStream>,
        state: *mut c_void,
        run: Run,
        free: Free,
    ) -> Result<Box<dyn RingLoop>> {
        if state.is_null() {
            return Err("this method is not built in".into());
        }
        Ok(Box::new(Self {
            state,
            run,
            free,
            ring: Rc::clone(ring),
            _sides: sides,
        }))
    }
}

impl RingLoop for CRing {
    fn run(&mut self) {
        // SAFETY: the state is the constructor's, and the ring is the same.
        unsafe { (self.run)(self.state, self.ring.as_c()) }
    }
}

impl Drop for CRing {
    fn drop(&mut self) {
        // SAFETY: the state is not used any more.
        unsafe { (self.free)(self.state) }
    }
}

/// An echo server in C.
pub struct CEcho(pub fn(RawFd) -> c_int);

impl CEcho {
    pub fn serve(&self, listener: TcpListener) -> Result<()> {
        match (self.0)(listener.as_raw_fd()) {
            0.. => Ok(()),
            _ => Err("this method is not built in".into()),
        }
    }
}
