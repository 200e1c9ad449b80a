//! An event is a hint: spurious readiness, and what else a poller may get wrong.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Probe, Script, Simulated, fd_flags};
use fdloop::{Dispatcher, Error, Event, EventLoop, FileDispatcher, Interest, Readiness};

#[test]
fn spurious_readiness_is_no_error_for_a_stream() {
    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let (probe, seen) = Probe::new();
    let id = event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    let readiness = Readiness::READABLE;
    for _ in 0..3 {
        script
            .borrow_mut()
            .push_back(vec![Event::new(fd, readiness)]);
        assert_eq!(event_loop.turn(None).unwrap(), 1);
    }
    assert_eq!(seen.take(), ["read", "read", "read"]);
    theirs.write_all(b"real").unwrap();
    script
        .borrow_mut()
        .push_back(vec![Event::new(fd, readiness)]);
    event_loop.turn(None).unwrap();
    assert_eq!(seen.received(), b"real");
    assert!(event_loop.get(id).unwrap().connected());
}

#[test]
fn spurious_readiness_is_no_error_for_a_listener() {
    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let (probe, seen) = Probe::new();
    let server = Dispatcher::listen("127.0.0.1:0", probe).unwrap();
    let fd = server.as_raw_fd();
    let id = event_loop.add(server).unwrap();
    for _ in 0..3 {
        let readiness = Readiness::READABLE;
        script
            .borrow_mut()
            .push_back(vec![Event::new(fd, readiness)]);
        assert_eq!(event_loop.turn(None).unwrap(), 1);
    }
    assert!(seen.events().is_empty());
    assert!(event_loop.get(id).unwrap().accepting());
}

#[test]
#[cfg(target_os = "linux")]
fn spurious_readiness_is_no_error_for_a_connection_that_is_still_being_made() {
    // A listener whose queue is full lets further connections wait.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::listen(&server, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let address = server.local_addr().unwrap();
    let _first = std::net::TcpStream::connect(address).unwrap();

    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let (probe, seen) = Probe::new();
    seen.wants_write.set(true);
    let client = Dispatcher::connect(address, probe).unwrap();
    let fd = client.as_raw_fd();
    let id = event_loop.add(client).unwrap();
    let hints = [
        Readiness::READABLE,
        Readiness::WRITABLE,
        Readiness::PRIORITY,
        Readiness::READABLE | Readiness::WRITABLE,
    ];
    for readiness in hints {
        script
            .borrow_mut()
            .push_back(vec![Event::new(fd, readiness)]);
        assert_eq!(event_loop.turn(None).unwrap(), 1);
        let heard = seen.take();
        assert!(
            !heard.contains(&"error") && !heard.contains(&"close"),
            "{heard:?}"
        );
        assert!(
            !heard.contains(&"connect") && !heard.contains(&"read"),
            "{heard:?}"
        );
    }
    assert!(event_loop.get(id).unwrap().connecting());
}

#[test]
fn events_of_numbers_without_a_channel_are_ignored() {
    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (probe, seen) = Probe::new();
    event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    let readiness = Readiness::all();
    let numbers = [-1, i32::MIN, 100_000, i32::MAX];
    let events = numbers.map(|fd| Event::new(fd, readiness));
    script.borrow_mut().push_back(events.to_vec());
    assert_eq!(event_loop.turn(None).unwrap(), 0);
    assert!(seen.events().is_empty());
}

/// A poller that refuses the descriptor of the only channel, once.
fn refuse(event_loop: &mut EventLoop, script: &Script, fd: RawFd) {
    let readiness = Readiness::REFUSED;
    script
        .borrow_mut()
        .push_back(vec![Event::new(fd, readiness)]);
    assert_eq!(event_loop.turn(None).unwrap(), 1);
    assert!(event_loop.is_empty());
}

#[test]
fn a_refused_descriptor_is_closed_and_its_flags_are_put_back() {
    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let (reader, mut writer) = os_pipe::pipe().unwrap();
    let (probe, seen) = Probe::new();
    let dispatcher = FileDispatcher::new(&reader, probe).unwrap();
    let id = event_loop.add(dispatcher).unwrap();
    refuse(&mut event_loop, &script, id.fd());

    assert_eq!(seen.events(), ["error", "close"]);
    let errors = seen.errors();
    assert_eq!(errors.len(), 1);
    let fd = format!("fd {}", id.fd());
    assert!(errors[0].contains(&fd), "{errors:?}");
    assert!(errors[0].contains("Backend::Select"), "{errors:?}");
    // Its duplicate is gone, and the original is as it was before.
    assert!(!fd_flags(&reader).1, "still non-blocking");
    drop(reader);
    let error = writer.write_all(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_handler_cannot_go_on_with_a_refused_descriptor() {
    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (probe, seen) = Probe::new();
    let probe = probe.on_error(|_, error| {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(!error.is_disconnected());
        Ok(())
    });
    let id = event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    refuse(&mut event_loop, &script, id.fd());
    assert_eq!(seen.events(), ["error", "close"]);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "it is closed");
}

#[test]
fn a_handler_may_leave_the_loop_for_a_refused_descriptor() {
    let (poller, script, _) = Simulated::new();
    let mut event_loop = EventLoop::with_poller(poller);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (probe, seen) = Probe::new();
    let probe = probe.on_error(|_, _| Err(Error::ExitNow));
    let fd = ours.as_raw_fd();
    event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    let readiness = Readiness::REFUSED;
    script
        .borrow_mut()
        .push_back(vec![Event::new(fd, readiness)]);
    let left = event_loop.turn(None);
    assert!(matches!(left, Err(Error::ExitNow)), "{left:?}");
    assert_eq!(seen.count("error"), 1);
    assert!(event_loop.is_empty());
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "it is closed");
}

#[test]
fn an_error_of_the_poller_is_returned_and_the_loop_can_go_on() {
    #[derive(Debug)]
    struct Failing(Rc<RefCell<u32>>);
    impl fdloop::Poller for Failing {
        fn set(&mut self, _: i32, _: Interest) -> std::io::Result<()> {
            Ok(())
        }
        fn wait(&mut self, _: fdloop::Deadline, _: &mut Vec<Event>) -> std::io::Result<()> {
            *self.0.borrow_mut() += 1;
            match *self.0.borrow() {
                1 => Err(std::io::Error::from_raw_os_error(libc::ENOMEM)),
                _ => Ok(()),
            }
        }
    }
    let waits = Rc::default();
    let mut event_loop = EventLoop::with_poller(Failing(Rc::clone(&waits)));
    let error = event_loop.turn(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    assert_eq!(event_loop.turn(Some(Duration::ZERO)).unwrap(), 0);
    assert_eq!(*waits.borrow(), 2);
}
