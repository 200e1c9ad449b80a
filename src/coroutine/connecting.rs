//! Connecting sockets in futures.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::descriptor::Async;
use super::handle::Handle;
use super::sleep::Sleep;
use super::slot::{Registered, Slot};
use crate::address::{Address, ToAddresses};
use crate::dispatcher::{ATTEMPT_DELAY, Socket, SocketType};
use crate::error::{Error, Result};
use crate::resolver::Resolver;

/// An attempt to connect to one address.
type Attempt = Pin<Box<dyn Future<Output = Result<Async<Socket>>>>>;

impl Handle {
    /// Connects a stream socket to the first of several addresses that can be connected to. They
    /// are tried beside each other, as RFC 8305 says: the next one when an attempt fails, and after
    /// a quarter of a second otherwise.
    ///
    /// Text with a host name is resolved first, which blocks the loop.
    /// [`connect_by_name`](Handle::connect_by_name) does that on threads.
    ///
    /// ```
    /// use fdloop::EventLoop;
    /// use futures_lite::AsyncReadExt;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(async move {
    ///     let listener = handle.listen("127.0.0.1:0")?;
    ///     let address = listener.local_addr()?;
    ///     let server = handle.spawn(async move { listener.accept().await });
    ///     let mut client = handle.connect(address).await?;
    ///     drop(server.await?);
    ///     assert_eq!(client.read(&mut [0]).await?, 0);
    ///     Ok::<_, fdloop::Error>(())
    /// })??;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ToAddresses`]; else those of connect(2) for the attempt that failed last, such as
    /// `ConnectionRefused`; those of [`Handle::with`].
    pub async fn connect(&self, address: impl ToAddresses) -> Result<Async<Socket>> {
        self.connect_first(address.to_addresses()?).await
    }

    /// Connects a stream socket to `name`, in any form that [`ToAddresses`] takes as text, within
    /// `limit`. A thread of `resolver` resolves the name, and the addresses are then tried as by
    /// [`connect`](Handle::connect).
    ///
    /// ```
    /// use fdloop::{EventLoop, Resolver};
    /// use std::time::Duration;
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let name = format!("localhost:{}", listener.local_addr()?.port());
    /// let mut event_loop = EventLoop::new()?;
    /// let resolver = Resolver::start(&mut event_loop, 1)?;
    /// let handle = event_loop.handle();
    /// let patience = Duration::from_secs(20);
    /// event_loop.block_on(async move {
    ///     let stream = handle.connect_by_name(&resolver, name, patience).await?;
    ///     assert_eq!(stream.get_ref().peer_addr()?, listener.local_addr()?.into());
    ///     Ok::<_, fdloop::Error>(())
    /// })??;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `TimedOut` after `limit`; those of [`resolve`](Handle::resolve) and
    /// [`connect`](Handle::connect).
    pub async fn connect_by_name(
        &self,
        resolver: &Resolver,
        name: impl Into<String>,
        limit: Duration,
    ) -> Result<Async<Socket>> {
        let name = name.into();
        let connected = self.timeout(limit, async {
            let addresses = self.resolve(resolver, name.as_str(), limit).await?;
            self.connect_first(addresses).await
        });
        connected.await.unwrap_or_else(|_| {
            let late = io::Error::from_raw_os_error(libc::ETIMEDOUT);
            let action = format!("connect to {name:?} within {limit:?}");
            Err(Error::system(action, None, late))
        })
    }

    /// Resolves a name on a thread of `resolver`: see [`Resolver::resolve`].
    ///
    /// ```
    /// use fdloop::{EventLoop, Resolver};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let resolver = Resolver::start(&mut event_loop, 1)?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(async move {
    ///     let patience = Duration::from_secs(20);
    ///     let addresses = handle.resolve(&resolver, "localhost:80", patience).await?;
    ///     assert!(addresses.iter().all(|address| address.port() == Some(80)));
    ///     Ok::<_, fdloop::Error>(())
    /// })??;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ToAddresses`]; `TimedOut` after `limit`; those of [`Resolver::resolve`] and
    /// [`Handle::with`].
    pub async fn resolve(
        &self,
        resolver: &Resolver,
        name: impl Into<String>,
        limit: Duration,
    ) -> Result<Vec<Address>> {
        let slot = Slot::new();
        let full = slot.clone();
        let lookup = self.with(|event_loop| {
            resolver.resolve(event_loop, name, limit, move |_, addresses| {
                full.put(addresses);
                Ok(())
            })
        })??;
        let _registered = Registered::new(self, lookup);
        slot.take().await
    }

    /// Makes attempts beside each other until one succeeds. The others are dropped.
    async fn connect_first(&self, addresses: Vec<Address>) -> Result<Async<Socket>> {
        let mut left = addresses.into_iter();
        let mut attempts: Vec<Attempt> = Vec::new();
        // The time that the last attempt has before the next one begins.
        let mut pause: Option<Sleep> = None;
        let mut failure = None;
        poll_fn(move |cx| {
            loop {
                let mut at = 0;
                while let Some(attempt) = attempts.get_mut(at) {
                    match attempt.as_mut().poll(cx) {
                        Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                        Poll::Ready(Err(error)) => {
                            drop(attempts.remove(at));
                            failure = Some(error);
                            pause = None;
                        }
                        Poll::Pending => at += 1,
                    }
                }
                if let Some(sleep) = &mut pause {
                    if Pin::new(sleep).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    pause = None;
                }
                match left.next() {
                    Some(address) => {
                        attempts.push(Box::pin(connect_to(self.clone(), address)));
                        if left.len() > 0 {
                            pause = Some(self.sleep(ATTEMPT_DELAY));
                        }
                    }
                    None if attempts.is_empty() => {
                        let message = "no address to connect to: the list of addresses is empty";
                        let last = failure.take().unwrap_or_else(|| Error::other(message));
                        return Poll::Ready(Err(last));
                    }
                    None => return Poll::Pending,
                }
            }
        })
        .await
    }
}

async fn connect_to(handle: Handle, address: Address) -> Result<Async<Socket>> {
    let socket = Socket::new(address.family(), SocketType::Stream)?;
    let fd = socket.as_raw_fd();
    let failed = |e| Error::system(format!("connect to {address}"), Some(fd), e);
    let established = socket.connect(&address).map_err(failed)?;
    let stream = Async::nonblocking(&handle, socket)?;
    if established {
        return Ok(stream);
    }
    loop {
        stream.writable().await?;
        if let Some(error) = stream.get_ref().take_error().map_err(failed)? {
            return Err(failed(error));
        }
        // Spurious events are possible.
        if stream.get_ref().peer_addr().is_ok() {
            return Ok(stream);
        }
    }
}
