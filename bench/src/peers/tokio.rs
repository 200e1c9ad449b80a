//! tokio, on its current-thread runtime: a task for each channel.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::{Call, Peer, Result};
use crate::ring::{Ring, RingLoop};

pub const PEER: Peer = Peer {
    // As it is built; how mio waits in the other build is mio's affair.
    name: "tokio/epoll",
    call: Call::Epoll,
    ring: Some(new_ring),
    echo: Some(echo),
};

struct TokioRing {
    // Dropped before the runtime, which its tasks need.
    tasks: LocalSet,
    runtime: Runtime,
    done: Rc<Notify>,
}

pub(super) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_io().build()?)
}

fn new_ring(ring: &Rc<Ring>, sides: Vec<UnixStream>) -> Result<Box<dyn RingLoop>> {
    let runtime = runtime()?;
    let tasks = LocalSet::new();
    let done = Rc::new(Notify::new());
    let entered = runtime.enter();
    for (index, side) in sides.into_iter().enumerate() {
        let mut side = tokio::net::UnixStream::from_std(side)?;
        let (ring, done) = (Rc::clone(ring), Rc::clone(&done));
        tasks.spawn_local(async move {
            while let Ok(1) = side.read(&mut [0; 1]).await {
                if ring.pass_on(index) {
                    done.notify_one();
                }
            }
        });
    }
    drop(entered);
    Ok(Box::new(TokioRing {
        tasks,
        runtime,
        done,
    }))
}

impl RingLoop for TokioRing {
    fn run(&mut self) {
        self.tasks.block_on(&self.runtime, self.done.notified());
    }
}

fn echo(listener: TcpListener) -> Result<()> {
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut buf = [0; 8192];
                while let Ok(n) = stream.read(&mut buf).await {
                    if n == 0 || stream.write_all(&buf[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}
