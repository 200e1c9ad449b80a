//! Refusals of the world, which has streams alone.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use fdloop::sim::World;
use fdloop::{
    Backend, Dispatcher, EventLoop, Handler, Interest, Poller, Readiness, Socket, Transport,
};

struct Quiet;
impl Handler for Quiet {}

#[test]
fn a_descriptor_cannot_be_added_to_a_loop_of_a_world() {
    let world = World::with_seed(0);
    let mut event_loop = world.event_loop();
    let (ours, _theirs) = Socket::pair().unwrap();
    let error = event_loop
        .add(Dispatcher::new(ours, Quiet).unwrap())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("World::pair"), "{error}");
    let error = event_loop.remote().unwrap_err();
    assert!(error.to_string().contains("in place of Remote"), "{error}");
    assert!(event_loop.is_empty());
}

#[test]
fn a_stream_cannot_be_added_to_a_loop_over_a_system_call_nor_to_another_world() {
    let world = World::with_seed(0);
    let (stream, _peer) = world.pair();
    assert!(stream.as_fd().is_none());
    let channel = Dispatcher::over(stream, Quiet);
    assert_eq!(channel.as_raw_fd(), 1_000);
    let mut other = World::with_seed(0).event_loop();
    let refused = other.try_add(channel).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
    let id = world.event_loop().add(refused.channel).unwrap();
    assert_eq!(id.fd(), 1_000);
    // poll(2) reports such a number as closed, and so does select(2).
    for &backend in Backend::ALL {
        let (stream, _peer) = world.pair();
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        event_loop.add(Dispatcher::over(stream, Quiet)).unwrap();
        event_loop.turn(None).unwrap();
        assert!(event_loop.is_empty());
    }
}

#[test]
fn numbers_are_reused_and_a_stream_dropped_behind_the_loops_back_is_reported() {
    let world = World::with_seed(0);
    world.set_noise(0);
    let (first, _peer) = world.pair();
    let (second, _peer) = world.pair();
    assert_eq!((first.raw_fd(), second.raw_fd()), (1_000, 1_001));
    let mut poller = world.poller();
    poller.set(first.raw_fd(), Interest::READABLE).unwrap();
    drop(first);
    let mut ready = Vec::new();
    poller.wait(fdloop::Deadline::Never, &mut ready).unwrap();
    assert_eq!(
        (ready[0].fd, ready[0].readiness),
        (1_000, Readiness::INVALID)
    );
    let (third, fourth) = world.streams();
    assert_eq!((third.raw_fd(), fourth.raw_fd()), (1_000, 1_002));
}
