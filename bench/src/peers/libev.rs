//! libev, with each of its methods.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::raw::{CEcho, CRing, Free, Run};
use super::{Call, Peer};
use crate::ring::Shared;

unsafe extern "C" {
    fn libev_version() -> *const c_char;
    fn libev_ring_new(ring: *const Shared, method: *const c_char) -> *mut c_void;
    fn libev_ring_run(state: *mut c_void, ring: *const Shared);
    fn libev_ring_free(state: *mut c_void);
    fn libev_echo(listener: c_int, method: *const c_char) -> c_int;
}

const RUN: Run = libev_ring_run;
const FREE: Free = libev_ring_free;

macro_rules! peer {
    ($name:literal, $method:literal, $call:expr) => {
        Peer {
            name: $name,
            call: $call,
            ring: Some(|ring, sides| {
                // SAFETY: the ring is laid out as C expects it, and outlives its loop.
                let state = unsafe { libev_ring_new(ring.as_c(), $method.as_ptr()) };
                CRing::over(ring, sides, state, RUN, FREE)
            }),
            // SAFETY: the listener is open, and the method a C string.
            echo: Some(|listener| {
                CEcho(|fd| unsafe { libev_echo(fd, $method.as_ptr()) }).serve(listener)
            }),
        }
    };
}

pub const PEERS: &[Peer] = &[
    peer!("libev/select", c"select", Call::Select),
    peer!("libev/poll", c"poll", Call::Poll),
    peer!("libev/epoll", c"epoll", Call::Epoll),
];

/// The version of the library that is used.
pub fn version() -> String {
    // SAFETY: it returns a static string.
    let version = unsafe { CStr::from_ptr(libev_version()) };
    version.to_string_lossy().into_owned()
}
