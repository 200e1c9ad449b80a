//! The same echo as coroutines: of fdloop, and of the runtimes that its users know.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use async_io::Async;
use fdloop::{Backend, EventLoop};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use smol::LocalExecutor;

use super::{Call, Peer, Result};

/// The servers that are compared.
pub const NAMES: [&str; 7] = [
    "fdloop/poll",
    "coroutines/select",
    "coroutines/poll",
    "coroutines/epoll",
    "async-io/epoll",
    "smol/epoll",
    "tokio/epoll",
];

/// The peers of fdloop that are not programs of their own.
pub const SERVERS: &[Peer] = &[
    server("coroutines/select", Call::Select, |listener| {
        own(listener, Backend::Select)
    }),
    server("coroutines/poll", Call::Poll, |listener| {
        own(listener, Backend::Poll)
    }),
    server("coroutines/epoll", Call::Epoll, |listener| {
        own(listener, Backend::Epoll)
    }),
    server("async-io/epoll", Call::Epoll, async_io),
    server("smol/epoll", Call::Epoll, smol),
];

const fn server(name: &'static str, call: Call, echo: super::Echo) -> Peer {
    Peer {
        name,
        call,
        ring: None,
        echo: Some(echo),
    }
}

fn own(listener: TcpListener, backend: Backend) -> Result<()> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    let handle = event_loop.handle();
    let server = async {
        let listener = fdloop::Socket::adopt(listener)?;
        let listener = fdloop::Listener::new(&handle, listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let connection = async move {
                let mut buf = [0; 8192];
                while let Ok(n) = stream.read(&mut buf).await {
                    if n == 0 || stream.write_all(&buf[..n]).await.is_err() {
                        break;
                    }
                }
            };
            handle.spawn(connection).detach();
        }
    };
    let ended: fdloop::Result<()> = event_loop.block_on(server)?;
    Ok(ended?)
}

/// `async-io` for descriptors, and an executor of one thread.
fn async_io(listener: TcpListener) -> Result<()> {
    let executor = LocalExecutor::new();
    let ended: std::io::Result<()> = async_io::block_on(executor.run(async {
        let listener = Async::new(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let connection = async move {
                let mut buf = [0; 8192];
                while let Ok(n) = stream.read(&mut buf).await {
                    if n == 0 || stream.write_all(&buf[..n]).await.is_err() {
                        break;
                    }
                }
            };
            executor.spawn(connection).detach();
        }
    }));
    Ok(ended?)
}

/// smol as it is, with the thread of its global executor.
fn smol(listener: TcpListener) -> Result<()> {
    let ended: std::io::Result<()> = smol::block_on(async {
        let listener = smol::net::TcpListener::from(Async::new(listener)?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            smol::spawn(async move {
                let mut buf = [0; 8192];
                while let Ok(n) = stream.read(&mut buf).await {
                    if n == 0 || stream.write_all(&buf[..n]).await.is_err() {
                        break;
                    }
                }
            })
            .detach();
        }
    });
    Ok(ended?)
}

/// Makes tasks that wait to read from streams, and returns what keeps them alive.
pub type Fill = fn(Vec<TcpStream>) -> Result<Box<dyn std::any::Any>>;

pub const BYTES: &[(&str, Fill)] = &[
    ("coroutines/select", |streams| {
        fill_own(streams, Backend::Select)
    }),
    ("coroutines/poll", |streams| {
        fill_own(streams, Backend::Poll)
    }),
    ("coroutines/epoll", |streams| {
        fill_own(streams, Backend::Epoll)
    }),
    ("async-io/epoll", fill_async_io),
    ("tokio/epoll", fill_tokio),
];

fn fill_own(streams: Vec<TcpStream>, backend: Backend) -> Result<Box<dyn std::any::Any>> {
    let mut event_loop = EventLoop::with_backend(backend)?;
    let handle = event_loop.handle();
    for stream in streams {
        let handle = handle.clone();
        let wait = async move {
            if let Ok(mut stream) = fdloop::Async::new(&handle, stream) {
                let _ = stream.read(&mut [0; 1]).await;
            }
        };
        event_loop.spawn(wait).detach();
    }
    event_loop.turn(Some(Duration::ZERO))?;
    Ok(Box::new(event_loop))
}

fn fill_async_io(streams: Vec<TcpStream>) -> Result<Box<dyn std::any::Any>> {
    let executor = LocalExecutor::new();
    for stream in streams {
        let wait = async move {
            if let Ok(mut stream) = Async::new(stream) {
                let _ = stream.read(&mut [0; 1]).await;
            }
        };
        executor.spawn(wait).detach();
    }
    while executor.try_tick() {}
    Ok(Box::new(executor))
}

fn fill_tokio(streams: Vec<TcpStream>) -> Result<Box<dyn std::any::Any>> {
    use tokio::io::AsyncReadExt;
    let runtime = super::tokio::runtime()?;
    runtime.block_on(async {
        for stream in streams {
            tokio::spawn(async move {
                if let Ok(mut stream) = tokio::net::TcpStream::from_std(stream) {
                    let _ = stream.read(&mut [0; 1]).await;
                }
            });
        }
        tokio::task::yield_now().await;
    });
    Ok(Box::new(runtime))
}
