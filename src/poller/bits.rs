//! Interest and readiness as the flags of poll(2), which are those of epoll(7) as well.

use std::ffi::c_short;

#[cfg(any(feature = "poll", with_epoll))]
use super::Interest;
use super::Readiness;
use crate::sys::poll as sys;

/// Returns the flags of an interest: none for `HANGUP`, which is always reported.
#[cfg(any(feature = "poll", with_epoll))]
pub(super) fn events_of(interest: Interest) -> c_short {
    let mut events = 0;
    if interest.contains(Interest::READABLE) {
        events |= sys::POLLIN;
    }
    if interest.contains(Interest::WRITABLE) {
        events |= sys::POLLOUT;
    }
    if interest.contains(Interest::PRIORITY) {
        events |= sys::POLLPRI;
    }
    events
}

/// Returns the readiness that select(2) would have reported, as far as possible. `found` are the
/// flags that the system call has reported for `wanted`. It reports hang-ups and errors in any
/// case.
pub(super) fn readiness(wanted: c_short, found: c_short) -> Readiness {
    let mut readiness = Readiness::empty();
    let readable = sys::POLLIN | sys::POLLHUP | sys::POLLERR;
    if wanted & sys::POLLIN != 0 && found & readable != 0 {
        readiness |= Readiness::READABLE;
    }
    let writable = sys::POLLOUT | sys::POLLERR;
    if wanted & sys::POLLOUT != 0 && found & writable != 0 {
        readiness |= Readiness::WRITABLE;
    }
    if found & sys::POLLPRI != 0 {
        readiness |= Readiness::PRIORITY;
    }
    // No flag above reports it, and the next wait would return at once again.
    if readiness.is_empty() {
        if found & sys::POLLERR != 0 {
            readiness |= Readiness::ERROR;
        }
        if found & sys::POLLHUP != 0 {
            readiness |= Readiness::HANGUP;
        }
    }
    readiness
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_readable_where_reading_is_wanted() {
        let read_hup = readiness(sys::POLLIN, sys::POLLHUP);
        assert_eq!(read_hup, Readiness::READABLE);
        let both_err = readiness(sys::POLLIN | sys::POLLOUT, sys::POLLERR);
        assert_eq!(both_err, Readiness::READABLE | Readiness::WRITABLE);
        let write_hup = readiness(sys::POLLOUT, sys::POLLHUP);
        assert_eq!(write_hup, Readiness::HANGUP);
        let unasked = readiness(0, sys::POLLHUP | sys::POLLERR);
        assert_eq!(unasked, Readiness::HANGUP | Readiness::ERROR);
    }
}
