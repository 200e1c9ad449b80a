//! How the pollers adapt keeps the rules: an idle descriptor is served within the
//! bound while others are busy, nothing is lost or reported twice, and an idle loop
//! sleeps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, on_every_backend, poller_of, this_test, traced_on_every_backend};
use fdloop::{Backend, Deadline, Event, Interest, Poller, Readiness};

/// The time for which an event of an idle descriptor may be put off.
const BOUND: Duration = Duration::from_millis(2);

/// Pairs of sockets that a poller watches one side of.
struct Field {
    poller: Box<dyn Poller>,
    pairs: BTreeMap<RawFd, (UnixStream, UnixStream)>,
    ready: Vec<Event>,
}

impl Field {
    fn new(poller: Box<dyn Poller>, count: usize) -> Self {
        let mut field = Self {
            poller,
            pairs: BTreeMap::new(),
            ready: Vec::new(),
        };
        for _ in 0..count {
            field.add();
        }
        field
    }

    fn add(&mut self) -> RawFd {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        self.poller.set(fd, Interest::READABLE).unwrap();
        self.pairs.insert(fd, (ours, theirs));
        fd
    }

    fn remove(&mut self, fd: RawFd) {
        self.poller.set(fd, Interest::empty()).unwrap();
        self.pairs.remove(&fd);
    }

    fn fds(&self) -> Vec<RawFd> {
        self.pairs.keys().copied().collect()
    }

    fn say(&self, fd: RawFd) {
        (&self.pairs[&fd].1).write_all(b"x").unwrap();
    }

    fn hear(&self, fd: RawFd) {
        (&self.pairs[&fd].0).read_exact(&mut [0]).unwrap();
    }

    /// One wait; the numbers that are ready, each of which stands once.
    fn wait(&mut self) -> Vec<RawFd> {
        let deadline = Deadline::after(Some(PATIENCE));
        self.ready.clear();
        self.poller.wait(deadline, &mut self.ready).unwrap();
        let readable = |event: &Event| event.readiness == Readiness::READABLE;
        assert!(self.ready.iter().all(readable), "{:?}", self.ready);
        let mut fds: Vec<_> = self.ready.iter().map(|event| event.fd).collect();
        fds.sort_unstable();
        fds.dedup();
        assert_eq!(fds.len(), self.ready.len(), "one was told twice");
        fds
    }
}

#[test]
fn every_idle_descriptor_is_served_while_others_are_saturated() {
    on_every_backend(|backend| {
        let mut field = Field::new(poller_of(backend), 200);
        let fds = field.fds();
        let (hot, cold) = fds.split_at(10);
        hot.iter().for_each(|fd| field.say(*fd));
        // Long enough for the poller to have found out who is busy.
        for _ in 0..200 {
            field.wait();
        }
        for fd in cold {
            field.say(*fd);
            let begin = Instant::now();
            loop {
                // A wait that begins so late asks all.
                let late = begin.elapsed() > BOUND;
                if field.wait().contains(fd) {
                    break;
                }
                assert!(!late, "fd {fd} was not reported in a late wait");
            }
            field.hear(*fd);
        }
    });
}

#[test]
fn an_idle_descriptor_is_served_in_the_first_wait_after_two_milliseconds() {
    on_every_backend(|backend| {
        let mut field = Field::new(poller_of(backend), 200);
        let fds = field.fds();
        fds[..10].iter().for_each(|fd| field.say(*fd));
        for _ in 0..200 {
            field.wait();
        }
        for fd in &fds[100..120] {
            field.say(*fd);
            let first = field.wait();
            // All were last asked before this.
            let begin = Instant::now();
            while begin.elapsed() <= BOUND {
                std::hint::spin_loop();
            }
            let second = field.wait();
            assert!(first.contains(fd) || second.contains(fd), "fd {fd}");
            field.hear(*fd);
        }
    });
}

#[test]
fn a_descriptor_that_is_added_while_others_are_busy_is_served_in_the_next_wait() {
    on_every_backend(|backend| {
        let mut field = Field::new(poller_of(backend), 200);
        let busy = field.fds()[0];
        field.say(busy);
        for _ in 0..200 {
            field.wait();
        }
        for _ in 0..20 {
            let fd = field.add();
            field.say(fd);
            assert!(field.wait().contains(&fd), "fd {fd}");
            // So is a descriptor whose interest has changed.
            field.poller.set(fd, Interest::WRITABLE).unwrap();
            field.ready.clear();
            field
                .poller
                .wait(Deadline::Never, &mut field.ready)
                .unwrap();
            let writable = Event::new(fd, Readiness::WRITABLE);
            assert!(field.ready.contains(&writable), "fd {fd}");
            field.remove(fd);
        }
    });
}

#[test]
fn nothing_is_lost_or_told_twice_while_numbers_come_and_go() {
    on_every_backend(|backend| {
        let mut field = Field::new(poller_of(backend), 150);
        let mut spoken = BTreeMap::new();
        let mut seed = 5_u32;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        for round in 0..20_000 {
            let fds = field.fds();
            // Mostly the first few, which so become the busy ones.
            let among = if random(4) > 0 { 8 } else { fds.len() };
            let fd = fds[random(among)];
            match random(20) {
                0 => {
                    // A number goes, busy or not, and is given out again.
                    field.remove(fd);
                    spoken.remove(&fd);
                    field.add();
                }
                _ if !spoken.contains_key(&fd) => {
                    field.say(fd);
                    spoken.insert(fd, Instant::now());
                }
                _ => {}
            }
            if spoken.is_empty() {
                continue;
            }
            let begin = Instant::now();
            for ready in field.wait() {
                let since = spoken.remove(&ready);
                assert!(since.is_some(), "fd {ready} had nothing to say");
                field.hear(ready);
            }
            let oldest = spoken.values().min().copied().unwrap_or(begin);
            assert!(begin - oldest <= BOUND, "one is late in round {round}");
        }
    });
}

#[test]
fn a_wait_that_finds_nothing_sleeps_until_its_deadline() {
    // (That it makes one call, and does not ask without blocking first, is shown
    // where that is decided: src/poller/pace.)
    on_every_backend(|backend| {
        let mut field = Field::new(poller_of(backend), 100);
        for _ in 0..50 {
            let begin = Instant::now();
            let deadline = Deadline::after(Some(Duration::from_millis(1)));
            field.poller.wait(deadline, &mut field.ready).unwrap();
            assert!(begin.elapsed() >= Duration::from_millis(1));
            assert!(field.ready.is_empty());
        }
    });
}

/// The number of connections that come and go, one after the other.
const VISITS: usize = 300;

/// Makes short connections whose numbers are in a word of their own, beside many idle
/// ones.
fn come_and_go(backend: Backend) {
    let mut field = Field::new(poller_of(backend), 100);
    // The next free number is then the first of a word, of 32 bits or of 64.
    let pad = || File::open("/dev/null").unwrap();
    let mut pads = vec![pad()];
    while pads[pads.len() - 1].as_raw_fd() % 64 != 63 {
        pads.push(pad());
    }
    for _ in 0..VISITS {
        let fd = field.add();
        assert_eq!(fd % 64, 0);
        for _ in 0..3 {
            field.say(fd);
            assert_eq!(field.wait(), [fd]);
            field.hear(fd);
        }
        field.remove(fd);
        let deadline = Deadline::after(Some(Duration::from_micros(10)));
        field.poller.wait(deadline, &mut field.ready).unwrap();
    }
}

#[test]
fn a_number_that_was_active_and_went_does_not_make_select_fail() {
    traced_on_every_backend(
        this_test!(),
        "select,pselect6,fcntl",
        come_and_go,
        |trace| {
            assert!(
                !trace.contains("EBADF"),
                "select was asked for a closed number"
            );
            // After an EBADF every watched number is checked. A few checks are made when a
            // number is watched for the first time, and by debug builds of std at each close.
            let checks = trace.matches("F_GETFD").count();
            assert!(checks < 10 * VISITS, "{checks} numbers were checked");
        },
    );
}

/// Waits whose deadline has passed, under load and after it.
fn wait_for_what_has_passed(backend: Backend) {
    let mut field = Field::new(poller_of(backend), 100);
    let busy = field.fds()[0];
    let passed = Deadline::At(Instant::now());
    for round in 0..400 {
        if round % 40 < 30 {
            field.say(busy);
        }
        // In the trace, this separates the calls of two waits.
        let _ = std::os::unix::process::parent_id();
        field.ready.clear();
        field.poller.wait(passed, &mut field.ready).unwrap();
        let found = !field.ready.is_empty();
        assert_eq!(found, round % 40 < 30);
        if found {
            field.hear(busy);
        }
    }
    let _ = std::os::unix::process::parent_id();
}

#[test]
fn a_wait_whose_deadline_has_passed_makes_two_calls_at_most() {
    let calls = "poll,ppoll,select,pselect6,epoll_wait,epoll_pwait,epoll_pwait2,getppid";
    traced_on_every_backend(this_test!(), calls, wait_for_what_has_passed, |trace| {
        let waits: Vec<&str> = trace.split("getppid").collect();
        let waits = &waits[1..waits.len() - 1];
        assert_eq!(waits.len(), 400);
        let calls = |wait: &&str| {
            let names = ["poll(", "select", "epoll_wait(", "epoll_pwait"];
            names.iter().map(|name| wait.matches(name).count()).sum()
        };
        let counts: Vec<usize> = waits.iter().map(calls).collect();
        assert!(
            counts.iter().all(|count| (1..=2).contains(count)),
            "{counts:?}"
        );
        // Under load the active descriptors are asked alone, and find something.
        assert!(counts.iter().sum::<usize>() < 500, "{counts:?}");
    });
}
