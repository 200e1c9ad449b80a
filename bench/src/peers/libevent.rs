//! libevent, with each of its methods.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::raw::{CEcho, CRing, Free, Run};
use super::{Call, Peer};
use crate::ring::Shared;

unsafe extern "C" {
    fn libevent_version() -> *const c_char;
    fn libevent_ring_new(ring: *const Shared, method: *const c_char) -> *mut c_void;
    fn libevent_ring_run(state: *mut c_void, ring: *const Shared);
    fn libevent_ring_free(state: *mut c_void);
    fn libevent_echo(listener: c_int, method: *const c_char) -> c_int;
}

const RUN: Run = libevent_ring_run;
const FREE: Free = libevent_ring_free;

macro_rules! peer {
    ($name:literal, $method:literal, $call:expr) => {
        Peer {
            name: $name,
            call: $call,
            ring: Some(|ring, sides| {
                // SAFETY: the ring is laid out as C expects it, and outlives its loop.
                let state = unsafe { libevent_ring_new(ring.as_c(), $method.as_ptr()) };
                CRing::over(ring, sides, state, RUN, FREE)
            }),
            // SAFETY: the listener is open, and the method a C string.
            echo: Some(|listener| {
                CEcho(|fd| unsafe { libevent_echo(fd, $method.as_ptr()) }).serve(listener)
            }),
        }
    };
}

pub const PEERS: &[Peer] = &[
    peer!("libevent/select", c"select", Call::Select),
    peer!("libevent/poll", c"poll", Call::Poll),
    peer!("libevent/epoll", c"epoll", Call::Epoll),
];

/// The version of the library that is used.
pub fn version() -> String {
    // SAFETY: libevent returns a static string.
    let version = unsafe { CStr::from_ptr(libevent_version()) };
    version.to_string_lossy().into_owned()
}
