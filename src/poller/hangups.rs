//! Hang-ups for select(2), which does not report them.

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use super::table::{Table, collect, number_of, poll_now};
use super::{Event, HANGUP_INTERVAL, Readiness};

/// The descriptors that are watched only for hang-ups. One call of poll(2), at most once in
/// [`HANGUP_INTERVAL`], asks for all of them.
#[derive(Default)]
pub(super) struct Hangups {
    /// Their entries have no events: poll(2) reports hang-ups in any case.
    table: Table,
    /// The time at which they may be asked again.
    next: Option<Instant>,
}

impl Hangups {
    /// Watches `fd`, whose index is `number`, or forgets it.
    pub(super) fn set(&mut self, fd: RawFd, number: usize, wanted: bool) {
        self.table.set(fd, number, wanted.then_some(0));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.entries.is_empty()
    }

    /// The numbers that are watched.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.table.entries.iter().map(number_of)
    }

    /// Asks if enough time has passed since the last time, and appends an event for each
    /// descriptor that has hung up. Returns when to ask again.
    pub(super) fn ask_if_due(&mut self, ready: &mut Vec<Event>) -> io::Result<Instant> {
        let now = Instant::now();
        if let Some(next) = self.next.filter(|next| now < *next) {
            return Ok(next);
        }
        let found = poll_now(&mut self.table.entries)?;
        if found > 0 {
            collect(&self.table.entries, found, ready);
            // A descriptor that poll(2) refuses is not lost: select(2) may be able to wait for
            // it.
            ready.retain(|event| event.readiness != Readiness::REFUSED);
        }
        let next = now + HANGUP_INTERVAL;
        self.next = Some(next);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn poll_is_called_once_in_an_interval_however_often_one_asks() {
        let (reader, writer) = os_pipe::pipe().unwrap();
        let mut hangups = Hangups::default();
        let number = reader.as_raw_fd() as usize;
        hangups.set(reader.as_raw_fd(), number, true);
        hangups.table.check_invariants();
        let mut ready = Vec::new();
        let next = hangups.ask_if_due(&mut ready).unwrap();
        assert!(next > Instant::now());
        drop(writer);
        for _ in 0..10 {
            assert_eq!(hangups.ask_if_due(&mut ready).unwrap(), next);
            assert_eq!(ready, []);
        }
        // The interval has passed; and what has hung up is reported in each.
        for _ in 0..2 {
            hangups.next = Some(Instant::now());
            assert!(hangups.ask_if_due(&mut ready).unwrap() > next);
            assert_eq!(ready.len(), 1);
            assert_eq!(ready[0].readiness, Readiness::HANGUP);
            ready.clear();
        }
        hangups.set(reader.as_raw_fd(), number, false);
        hangups.table.check_invariants();
        assert!(hangups.is_empty());
    }
}
