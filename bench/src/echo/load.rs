//! The load: connections that wait for the reply to each request.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes of a request, and of its reply.
const MESSAGE: usize = 64;

/// The time to wait for a reply, after which the server is given up.
const PATIENCE: libc::c_int = 5_000;

/// Connections to a server.
#[derive(Debug)]
pub struct Load {
    streams: Vec<TcpStream>,
    /// Every so many of them is active.
    spread: usize,
    active: usize,
    epoll: OwnedFd,
}

impl Load {
    /// Opens connections, of which `active` will send requests, spread evenly.
    pub fn connect(port: u16, open: usize, active: usize) -> io::Result<Self> {
        let mut streams = Vec::with_capacity(open);
        for _ in 0..open {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            reset_on_close(&stream);
            streams.push(stream);
        }
        // SAFETY: the call has no arguments to get wrong.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the number is open, and no other code owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let load = Self {
            streams,
            spread: open / active,
            active,
            epoll,
        };
        for index in 0..active {
            let stream = load.stream(index);
            stream.set_nonblocking(true)?;
            let mut event = libc::epoll_event {
                events: libc::EPOLLIN as u32,
                u64: index as u64,
            };
            let (epoll, fd) = (load.epoll.as_raw_fd(), stream.as_raw_fd());
            // SAFETY: both numbers are open, and the kernel reads the event.
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) };
        }
        Ok(load)
    }

    fn stream(&self, active: usize) -> &TcpStream {
        &self.streams[active * self.spread]
    }

    /// Sends requests for some time. Returns the replies per second.
    pub fn run(&self, time: Duration) -> Result<f64, Box<dyn Error>> {
        // The bytes of each reply that have not arrived yet.
        let mut missing = vec![MESSAGE; self.active];
        for index in 0..self.active {
            self.stream(index).write_all(&[b'.'; MESSAGE])?;
        }
        let start = Instant::now();
        let mut replies = 0_u64;
        let mut waiting = self.active;
        while waiting > 0 {
            let goes_on = start.elapsed() < time;
            for index in self.wait()? {
                missing[index] -= receive(self.stream(index))?;
                if missing[index] > 0 {
                    continue;
                }
                missing[index] = MESSAGE;
                replies += 1;
                if goes_on {
                    self.stream(index).write_all(&[b'.'; MESSAGE])?;
                } else {
                    waiting -= 1;
                }
            }
        }
        Ok(replies as f64 / start.elapsed().as_secs_f64())
    }

    /// Which connections have something to receive.
    fn wait(&self) -> Result<impl Iterator<Item = usize> + use<>, Box<dyn Error>> {
        // SAFETY: plain data, of which all zeros is a value.
        let mut events: [libc::epoll_event; 64] = unsafe { mem::zeroed() };
        let room = events.len() as libc::c_int;
        // SAFETY: the kernel fills in as many events as there is room for.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), room, PATIENCE)
        };
        if count <= 0 {
            return Err("the server does not respond".into());
        }
        let events = events.into_iter().take(count as usize);
        Ok(events.map(|event| event.u64 as usize))
    }
}

fn receive(mut stream: &TcpStream) -> io::Result<usize> {
    match stream.read(&mut [0; MESSAGE]) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// A connection that was closed in order would keep its port for a minute, and
/// there are not that many ports.
fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the kernel reads an option of that size. Without it there are just
    // more ports in use.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            mem::size_of_val(&linger) as libc::socklen_t,
        )
    };
}
