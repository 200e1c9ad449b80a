//! Descriptors that other code closes without the loop's knowledge.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::alone;
use crate::common::{
    Counting, Heard, PATIENCE, Probe, on_every_backend, poller_of, settle, turn_until,
    with_every_loop,
};
use fdloop::{
    Channel, Deadline, Dispatcher, Error, Event, EventLoop, FileDispatcher, FileWrapper, Interest,
    Poller, Readiness, Result,
};
use nix::fcntl::{FcntlArg, fcntl};
#[cfg(target_os = "linux")]
use nix::{fcntl::OFlag, sys::stat::Mode};

/// Closes a number that others believe to own.
#[track_caller]
fn close_behind(number: RawFd) {
    nix::unistd::close(number).unwrap();
}

/// Opens a file under `number`, which must be free.
#[track_caller]
fn open_under(number: RawFd) -> OwnedFd {
    let null = File::open("/dev/null").unwrap();
    if null.as_raw_fd() == number {
        return null.into();
    }
    let given = fcntl(null.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(number)).unwrap();
    assert_eq!(given, number, "the number was not free");
    #[allow(unsafe_code, reason = "the number comes from fcntl")]
    // SAFETY: fcntl has just made this descriptor, and nobody else knows it.
    unsafe {
        OwnedFd::from_raw_fd(given)
    }
}

/// Makes passes with a timeout for 300 ms, of which all but `finds` must be one wait
/// that lasts as long as its timeout: then there are no more than fit, however slow
/// or fast the machine is.
#[track_caller]
fn assert_quiet_but_for(finds: usize, event_loop: &mut EventLoop, heard: &Heard) {
    let timeout = Duration::from_millis(20);
    heard.waits.set(0);
    let (mut passes, mut short) = (0, 0);
    let begin = Instant::now();
    while begin.elapsed() < 15 * timeout {
        let pass = Instant::now();
        let served = event_loop.turn(Some(timeout)).unwrap();
        passes += 1;
        if served > 0 || pass.elapsed() < timeout {
            short += 1;
        }
    }
    assert!(short <= finds, "{short} of {passes} passes did not sleep");
    assert_eq!(heard.waits.get(), passes);
}

#[test]
fn a_descriptor_closed_behind_the_loop_costs_its_channel_and_no_other() {
    let _alone = alone();
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let mut others = Vec::new();
        let mut lost = None;
        for i in 0..5 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            let id = event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            if i == 2 {
                lost = Some((id, seen, theirs));
            } else {
                others.push((id, seen, theirs));
            }
        }
        let (id, seen, _theirs) = lost.unwrap();
        settle(&mut event_loop);
        close_behind(id.fd());
        turn_until(&mut event_loop, "it is found", || seen.heard("close"));

        assert_eq!(seen.events(), ["close"], "one close and nothing else");
        let (errno, text) = seen.reason().unwrap();
        assert_eq!(errno, Some(libc::EBADF));
        assert!(text.contains(&format!("fd {}", id.fd())), "{text}");
        assert!(event_loop.get(id).is_none());
        assert_eq!(event_loop.len(), 4);

        // The others go on.
        for (_, seen, theirs) in &mut others {
            assert!(seen.events().is_empty());
            theirs.write_all(b"still here").unwrap();
            turn_until(&mut event_loop, "data comes", || seen.received_len() == 10);
        }
        assert_quiet_but_for(0, &mut event_loop, &heard);
    });
}

#[test]
fn the_loop_sleeps_as_before_whenever_a_descriptor_is_closed_behind_it() {
    let _alone = alone();
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let mut all = Vec::new();
        for _ in 0..6 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            let id = event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            all.push((id, seen, theirs));
        }
        // One before it was ever waited for, one later, and several at once.
        for (lost, left) in [(0..1, 5), (1..2, 4), (2..5, 1)] {
            for (id, _, _) in &all[lost.clone()] {
                close_behind(id.fd());
            }
            assert_quiet_but_for(lost.len(), &mut event_loop, &heard);
            assert_eq!(event_loop.len(), left);
            for (_, seen, _) in &all[lost] {
                assert_eq!(seen.events(), ["close"], "one error and no more");
            }
        }
        // With nothing left that is open.
        close_behind(all[5].0.fd());
        assert_quiet_but_for(1, &mut event_loop, &heard);
        assert!(event_loop.is_empty());
    });
}

#[test]
fn several_are_found_and_each_hears_of_it_once() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let mut all = Vec::new();
        for _ in 0..6 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            let id = event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            all.push((id, seen, theirs));
        }
        for (id, _, _) in all.iter().step_by(2) {
            close_behind(id.fd());
        }
        turn_until(event_loop, "all three are found", || {
            all.iter()
                .step_by(2)
                .all(|(_, seen, _)| seen.heard("close"))
        });
        settle(event_loop);
        for (i, (id, seen, _)) in all.iter().enumerate() {
            let expected: &[&str] = if i % 2 == 0 { &["close"] } else { &[] };
            assert_eq!(seen.events(), expected);
            assert_eq!(event_loop.get(*id).is_some(), i % 2 == 1);
        }
    });
}

#[test]
fn data_of_others_that_is_ready_in_the_same_pass_is_not_lost() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, lost) = Probe::new();
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"both at once").unwrap();
        close_behind(id.fd());
        turn_until(event_loop, "both", || {
            lost.heard("close") && seen.received_len() == 12
        });
        assert_eq!(seen.events(), ["read"]);
    });
}

#[test]
fn the_number_of_a_lost_descriptor_is_not_closed_again() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        // A socket and a file, which give their descriptors up on different ways.
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (reader, _writer) = os_pipe::pipe().unwrap();
        let reopened: Rc<RefCell<Vec<OwnedFd>>> = Rc::default();
        let probe = |number: Rc<RefCell<RawFd>>| {
            let reopened = Rc::clone(&reopened);
            let (probe, seen) = Probe::new();
            let probe = probe.on_close(move |_| {
                // Somebody else gets the number before the channel is dropped.
                reopened.borrow_mut().push(open_under(*number.borrow()));
                Ok(())
            });
            (probe, seen)
        };
        let numbers: [Rc<RefCell<RawFd>>; 2] = Default::default();
        let (first, first_seen) = probe(Rc::clone(&numbers[0]));
        let (second, second_seen) = probe(Rc::clone(&numbers[1]));
        let socket = event_loop
            .add(Dispatcher::new(ours, first).unwrap())
            .unwrap();
        let file = event_loop
            .add(FileDispatcher::new(&reader, second).unwrap())
            .unwrap();
        numbers[0].replace(socket.fd());
        numbers[1].replace(file.fd());
        settle(event_loop);
        close_behind(socket.fd());
        close_behind(file.fd());
        turn_until(event_loop, "both are found", || {
            first_seen.heard("close") && second_seen.heard("close")
        });
        assert!(event_loop.is_empty());
        let reopened = reopened.take();
        assert_eq!(reopened.len(), 2);
        for fd in reopened {
            fcntl(&fd, FcntlArg::F_GETFD).unwrap();
        }
    });
}

#[test]
fn the_number_is_not_closed_again_either_if_the_channel_itself_finds_out() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        type Find = fn(&mut fdloop::Io<'_>) -> Result<usize>;
        let finds: [Find; 2] = [|io| io.send(b"x"), |io| io.recv(&mut [0; 8])];
        for find in finds {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let reopened: Rc<RefCell<Vec<OwnedFd>>> = Rc::default();
            let (probe, seen) = Probe::new();
            let (kept, number) = (Rc::clone(&reopened), ours.as_raw_fd());
            let probe = probe.on_close(move |_| {
                kept.borrow_mut().push(open_under(number));
                Ok(())
            });
            let channel = Dispatcher::new(ours, probe).unwrap();
            let id = event_loop.add(channel).unwrap();
            settle(event_loop);
            close_behind(number);
            let found = event_loop.with(id, |channel, event_loop| {
                channel.enter(event_loop, |_, io| find(io).map(drop))
            });
            found.unwrap();
            assert_eq!(seen.events(), ["close"]);
            assert_eq!(seen.reason().unwrap().0, Some(libc::EBADF));
            assert!(event_loop.is_empty());
            settle(event_loop);
            let reopened = reopened.take();
            fcntl(&reopened[0], FcntlArg::F_GETFD).unwrap();
        }
    });
}

/// Does not own its descriptor, and overrides nothing but what counts.
struct Borrowing {
    number: RawFd,
    closed: Rc<RefCell<Vec<Option<i32>>>>,
    lost: bool,
}

impl AsRawFd for Borrowing {
    fn as_raw_fd(&self) -> RawFd {
        self.number
    }
}

impl Channel for Borrowing {
    fn handle_close(&mut self, _: &mut EventLoop, reason: Option<Error>) -> Result<()> {
        assert!(self.lost, "descriptor_lost comes first");
        let errno = reason.and_then(|reason| reason.raw_os_error());
        self.closed.borrow_mut().push(errno);
        Ok(())
    }
    fn descriptor_lost(&mut self) {
        self.lost = true;
    }
}

#[test]
fn a_number_that_was_never_open_is_found_like_one_that_was_closed() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let closed = Rc::default();
        let channel = Borrowing {
            number: 971,
            closed: Rc::clone(&closed),
            lost: false,
        };
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        match event_loop.add(channel) {
            Ok(id) => {
                turn_until(event_loop, "found", || !closed.borrow().is_empty());
                assert_eq!(*closed.borrow(), [Some(libc::EBADF)]);
                assert!(event_loop.get(id).is_none());
            }
            // To refuse it at once is as good.
            Err(refused) => assert!(refused.to_string().contains("971")),
        }
        turn_until(event_loop, "the other one reads", || seen.heard("read"));
    });
}

#[test]
fn a_channel_that_wants_nothing_is_found_when_it_wants_something_again() {
    let _alone = alone();
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (probe, seen) = Probe::new();
        seen.wants_read.set(false);
        let id = event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        settle(&mut event_loop);
        close_behind(id.fd());
        heard.waits.set(0);
        let timeout = Duration::from_millis(30);
        let begin = Instant::now();
        event_loop.turn(Some(timeout)).unwrap();
        assert!(begin.elapsed() >= timeout);
        assert_eq!(heard.waits.get(), 1);
        assert!(seen.events().is_empty());
        seen.wants_read.set(true);
        turn_until(&mut event_loop, "it is found", || seen.heard("close"));
        assert!(event_loop.is_empty());
    });
}

#[test]
fn one_of_many_is_found_while_others_are_always_busy() {
    let _alone = alone();
    on_every_backend(|backend| {
        let event_loop = &mut EventLoop::with_backend(backend).unwrap();
        let zero = File::open("/dev/zero").unwrap();
        event_loop
            .add(FileDispatcher::new(&zero, Probe::silent()).unwrap())
            .unwrap();
        let mut quiet = Vec::new();
        for _ in 0..150 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (probe, seen) = Probe::new();
            let id = event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            quiet.push((id, seen, theirs));
        }
        for _ in 0..50 {
            event_loop.turn(None).unwrap();
        }
        let (id, lost, _) = &quiet[75];
        close_behind(id.fd());
        // Found when all are asked or checked, which is put off by the clock and not by passes.
        turn_until(event_loop, "it is found", || lost.heard("close"));
        assert_eq!(lost.reason().unwrap().0, Some(libc::EBADF));
        assert_eq!(event_loop.len(), 150);
        let heard = quiet
            .iter()
            .filter(|(_, seen, _)| !seen.events().is_empty());
        assert_eq!(heard.count(), 1, "nobody else hears anything");
    });
}

#[test]
fn a_poller_reports_one_of_many_in_every_wait_until_it_is_forgotten() {
    let _alone = alone();
    on_every_backend(|backend| {
        let mut poller = poller_of(backend);
        let zero = File::open("/dev/zero").unwrap();
        poller.set(zero.as_raw_fd(), Interest::READABLE).unwrap();
        let mut pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
        for (ours, _) in &pairs {
            poller.set(ours.as_raw_fd(), Interest::READABLE).unwrap();
        }
        let wait = |poller: &mut dyn Poller| {
            let mut ready = Vec::new();
            let deadline = Deadline::after(Some(PATIENCE));
            poller.wait(deadline, &mut ready).unwrap();
            ready
        };
        for _ in 0..100 {
            wait(&mut *poller);
        }
        let (lost, _theirs) = pairs.swap_remove(50);
        let lost = lost.into_raw_fd();
        close_behind(lost);
        let closed = Event::new(lost, Readiness::INVALID);
        let begin = Instant::now();
        while !wait(&mut *poller).contains(&closed) {
            assert!(begin.elapsed() < PATIENCE);
        }
        for _ in 0..100 {
            assert!(wait(&mut *poller).contains(&closed));
        }
        poller.set(lost, Interest::empty()).unwrap();
        for _ in 0..100 {
            let ready = wait(&mut *poller);
            assert!(ready.iter().all(|event| event.fd == zero.as_raw_fd()));
        }
    });
}

#[test]
fn closing_a_channel_whose_descriptor_was_closed_is_no_error_of_close_all() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let id = event_loop
            .add(Dispatcher::new(ours, Probe::silent()).unwrap())
            .unwrap();
        close_behind(id.fd());
        event_loop.close_all(false).unwrap();
        assert!(event_loop.is_empty());
    });
}

/// A descriptor that only names a file.
/// Opens a directory with O_PATH, for which musl's O_ACCMODE has a bit, so that
/// `OpenOptions` would take it out of the flags.
#[cfg(target_os = "linux")]
fn open_as_path() -> OwnedFd {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    nix::fcntl::open("/", flags, Mode::empty()).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn an_open_descriptor_that_cannot_be_waited_for_ends_its_channel_alone() {
    // poll(2) says POLLNVAL as for a closed number, epoll(7) EBADF. select(2) says that it is ready, and
    // the first read fails.
    let _alone = alone();
    on_every_backend(|backend| {
        let (poller, heard) = Counting::new(backend);
        let mut event_loop = EventLoop::with_poller(poller);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (probe, other) = Probe::new();
        event_loop
            .add(Dispatcher::new(ours, probe).unwrap())
            .unwrap();
        theirs.write_all(b"x").unwrap();
        let (probe, seen) = Probe::new();
        let dispatcher = FileDispatcher::new(open_as_path(), probe).unwrap();
        let id = event_loop.add(dispatcher).unwrap();
        turn_until(&mut event_loop, "both", || {
            seen.heard("close") && other.heard("read")
        });
        assert!(event_loop.get(id).is_none());
        match backend.to_string().as_str() {
            "poll" | "epoll" => {
                assert_eq!(seen.events(), ["error", "close"]);
                let errors = seen.errors();
                let fd = format!("fd {} is open", id.fd());
                assert!(errors[0].contains(&fd), "{errors:?}");
            }
            _ => {
                assert_eq!(seen.events(), ["read", "close"], "{:?}", seen.errors());
                assert_eq!(seen.reason().unwrap().0, Some(libc::EBADF));
            }
        }
        drop(open_under(id.fd()));
        assert_eq!(other.events(), ["read"]);
        assert_quiet_but_for(0, &mut event_loop, &heard);
    });
}

#[test]
fn closing_a_file_whose_descriptor_was_closed_is_no_error_of_the_loop() {
    let _alone = alone();
    with_every_loop(|event_loop| {
        let (reader, _writer) = os_pipe::pipe().unwrap();
        // The flags of a master are to be put back, and cannot be.
        let master = nix::pty::openpty(None, None).unwrap().master;
        for file in [reader.as_fd(), master.as_fd()] {
            let mut add = || {
                let channel = FileDispatcher::new(file, Probe::silent()).unwrap();
                event_loop.add(channel).unwrap()
            };
            let (by_id, with_all) = (add(), add());
            close_behind(by_id.fd());
            assert!(event_loop.close(by_id).unwrap());
            assert!(!event_loop.close(by_id).unwrap());
            close_behind(with_all.fd());
            event_loop.close_all(false).unwrap();
            assert!(event_loop.is_empty());
        }
    });
}

#[test]
fn a_file_wrapper_whose_duplicate_was_closed_says_so_once() {
    // CPython's test_close_twice.
    let _alone = alone();
    let mut wrapper = FileWrapper::new(File::open("/dev/null").unwrap()).unwrap();
    close_behind(wrapper.as_raw_fd());
    let error = wrapper.close().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert_eq!(wrapper.as_raw_fd(), -1);
    wrapper.close().unwrap();
}
