//! A simulated connection and one of the kernel return the same for the same calls.
//!
//! Systems differ, so the two are compared on the system that the simulation follows.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use fdloop::sim::{End, Peer, Stream, World, for_seeds};
use fdloop::{Backend, Deadline, Interest, Poller, Readiness, Socket, Transport};

/// The time that the kernel may take for events that the simulation makes at once.
const PATIENCE: Duration = Duration::from_secs(20);

const INTERESTS: [Interest; 2] = [
    Interest::READABLE.union(Interest::WRITABLE),
    Interest::HANGUP,
];

/// The kernel's connection: the side that is compared, and its peer.
struct Real {
    near: TcpStream,
    far: Option<TcpStream>,
    received: Vec<u8>,
}

impl Real {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        for stream in [&near, &far] {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        let (far, received) = (Some(far), Vec::new());
        Self {
            near,
            far,
            received,
        }
    }

    /// Reads what has come to the peer, which reads all at once.
    fn read(&mut self) {
        let mut buf = [0; 4096];
        while let Some(Ok(n @ 1..)) = self.far.as_mut().map(|far| far.read(&mut buf)) {
            self.received.extend_from_slice(&buf[..n]);
        }
    }
}

fn readiness(poller: &mut dyn Poller, fd: RawFd) -> [Readiness; 2] {
    INTERESTS.map(|interest| {
        poller.set(fd, interest).unwrap();
        let mut ready = Vec::new();
        poller.wait(Deadline::Now, &mut ready).unwrap();
        poller.set(fd, Interest::empty()).unwrap();
        ready
            .first()
            .map_or(Readiness::empty(), |event| event.readiness)
    })
}

/// The result of a call, in a form that can be compared.
fn outcome(result: io::Result<usize>) -> Result<usize, Option<i32>> {
    result.map_err(|error| error.raw_os_error())
}

/// Waits until the kernel has done what the simulation has.
fn catch_up(world: &World, stream: &Stream, peer: &Peer, real: &mut Real, unread: usize) {
    let poller = &mut *Backend::Poll.poller();
    let expected = readiness(&mut world.poller(), stream.raw_fd());
    let begin = Instant::now();
    loop {
        real.read();
        let found = readiness(poller, real.near.as_raw_fd());
        let arrived = unread == 0 || real.near.peek(&mut [0; 4096]).is_ok_and(|n| n == unread);
        if found == expected && arrived && real.received == peer.received() {
            return;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "the kernel reports {found:?}, and the simulation {expected:?}"
        );
    }
}

#[test]
fn a_simulated_connection_returns_what_one_of_the_kernel_does() {
    for_seeds(1_000, |world| {
        world.set_noise(0);
        let (mut stream, peer) = world.pair();
        peer.set_room(1 << 16);
        let mut real = Real::new();
        let mut unread = 0;
        for _ in 0..world.between(1..=12) {
            let data = vec![7; world.between(1..=100) as usize];
            match world.between(0..=9) {
                0..=2 if real.far.is_some() => {
                    peer.send(&data);
                    // After the end of its output this fails, and sends nothing.
                    let sent = real.far.as_mut().map(|far| far.write(&data));
                    if let Some(Ok(n)) = sent {
                        unread += n;
                    }
                }
                3 if real.far.is_some() => {
                    peer.shutdown();
                    let _ = real.far.as_ref().map(|far| far.shutdown(Shutdown::Write));
                }
                4 if world.chance(50) => {
                    real.read();
                    peer.close();
                    real.far = None;
                }
                5 if world.chance(50) => {
                    real.read();
                    peer.reset();
                    if let Some(far) = real.far.take() {
                        Socket::adopt(far)?.set_reset_on_close()?;
                    }
                }
                6 => {
                    let ended = outcome(stream.shutdown_write().map(|()| 0));
                    let real = real.near.shutdown(Shutdown::Write).map(|()| 0);
                    assert_eq!(ended, outcome(real), "shutdown");
                }
                7 => {
                    let sent = outcome(stream.send(&data));
                    assert_eq!(sent, outcome(real.near.write(&data)), "send");
                }
                _ => {
                    let mut bufs = [[0; 64]; 2];
                    let received = outcome(stream.recv(&mut bufs[0]));
                    let really = outcome(real.near.read(&mut bufs[1]));
                    assert_eq!((received, bufs[0]), (really, bufs[1]), "receive");
                    unread -= received.unwrap_or(0);
                }
            }
            world.run(&mut world.event_loop())?;
            catch_up(world, &stream, &peer, &mut real, unread);
        }
        // The near side closes: in order, or with a reset if something is unread.
        let ended = peer.end().is_some();
        drop(stream);
        world.run(&mut world.event_loop())?;
        let Real { near, far, .. } = real;
        drop(near);
        // A peer that has read the end learns of a reset from sends alone.
        if let (Some(mut far), Some(end), false) = (far, peer.end(), ended) {
            far.set_nonblocking(false).unwrap();
            far.set_read_timeout(Some(PATIENCE)).unwrap();
            let really = match far.read(&mut [0; 64]) {
                Ok(0) => End::InOrder,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => End::Reset,
                other => panic!("the peer receives {other:?}"),
            };
            assert_eq!(end, really, "the end at the peer");
        }
        Ok(())
    })
    .unwrap();
}
