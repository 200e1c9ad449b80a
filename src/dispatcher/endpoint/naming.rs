//! Connecting to a name, which a thread resolves.

use std::fmt;

use super::super::link::Link;
use super::super::socket::{Socket, SocketType};
use super::Endpoint;
use super::state::Phase;
use crate::address::{Address, Family, parse_unless_name};
use crate::error::Result;
use crate::event_loop::{AnyId, EventLoop};
use crate::resolver::{Request, Resolver};

/// The lookup of a name to connect to.
pub(super) struct Naming {
    name: String,
    resolver: Resolver,
    /// The family of the addresses to use, if the program has made the socket.
    family: Option<Family>,
    /// The request, and the channel that it was made for. A channel that has moved to another loop
    /// has another id, and makes another request.
    request: Option<(AnyId, Request)>,
    found: Option<Result<Vec<Address>>>,
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Naming")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Naming {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Endpoint {
    /// Begins to connect to `name`, in any form that [`ToAddresses`](crate::ToAddresses) takes as
    /// text, and makes the socket if the channel has none. A thread of `resolver` resolves the
    /// name. The lookup begins when the channel is in the resolver's loop, and is abandoned if the
    /// channel closes before it ends.
    ///
    /// Everything else is as for [`connect`](Endpoint::connect): `handle_connect` is called when
    /// the connection is established. If the name cannot be resolved, or every address fails,
    /// `handle_error` is called once. [`connecting`](Endpoint::connecting) is true meanwhile, and a
    /// [timeout](Endpoint::set_timeout) applies to the lookup, and then to each address.
    ///
    /// ```
    /// use fdloop::{Dispatcher, EventLoop, Handler, Io, Resolver, Result};
    ///
    /// struct Greeter;
    /// impl Handler for Greeter {
    ///     fn handle_connect(&mut self, io: &mut Io<'_>) -> Result<()> {
    ///         io.close();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let name = format!("localhost:{}", listener.local_addr()?.port());
    /// let mut event_loop = EventLoop::new()?;
    /// let resolver = Resolver::start(&mut event_loop, 1)?;
    /// event_loop.add(Dispatcher::connect_by_name(&resolver, name, Greeter)?)?;
    /// event_loop.run()?;
    /// listener.accept()?;
    /// # Ok::<(), fdloop::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the channel is connected, connecting or listening; `InvalidInput` if
    /// `name` is neither an address nor a host name with a port; those of [`Socket::new`].
    /// `handle_error` gets `InvalidInput` if the resolver was started for another loop than the
    /// channel's.
    pub fn connect_by_name(&mut self, resolver: &Resolver, name: impl Into<String>) -> Result<()> {
        self.check_unconnected("connect")?;
        let name = name.into();
        let found = parse_unless_name(&name)?.map(|address| Ok(vec![address]));
        let mut family = None;
        if let Some(socket) = self.socket() {
            // As for `connect`: a socket that has failed to connect is replaced.
            if !matches!(self.phase, Phase::Idle { spent: true }) {
                family = Some(socket.local_addr()?.family());
            }
        } else {
            // The channel needs a number before the family is known: the first attempt replaces
            // this socket under it.
            let socket = Socket::new(Family::Inet, SocketType::Stream)
                .or_else(|_| Socket::new(Family::Unix, SocketType::Stream))?;
            self.set_link(Link::Socket(socket));
        }
        self.phase = Phase::Resolving(Box::new(Naming {
            name,
            resolver: resolver.clone(),
            family,
            request: None,
            found,
        }));
        Ok(())
    }

    /// Checks whether a name is being resolved.
    #[inline]
    pub(in crate::dispatcher) fn is_resolving(&self) -> bool {
        matches!(self.phase, Phase::Resolving(_))
    }

    /// Returns the name that is being resolved.
    pub(super) fn name_in_question(&self) -> Option<&str> {
        match &self.phase {
            Phase::Resolving(naming) => Some(&naming.name),
            _ => None,
        }
    }

    /// Requests the addresses, unless they were requested already.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the resolver was started for another loop. The channel is then
    /// unconnected.
    pub(in crate::dispatcher) fn request_addresses(
        &mut self,
        event_loop: &EventLoop,
    ) -> Result<()> {
        let (Phase::Resolving(naming), Some(id)) = (&mut self.phase, event_loop.serving_id())
        else {
            return Ok(());
        };
        let requested = naming.request.as_ref().is_some_and(|(by, _)| *by == id);
        if requested || naming.found.is_some() {
            return Ok(());
        }
        let resolver = &naming.resolver;
        let request = resolver.request(event_loop, &naming.name, move |event_loop, found| {
            if let Some(endpoint) = event_loop.part_mut::<Self>(id) {
                endpoint.take_addresses(found);
            }
            Ok(())
        });
        match request {
            Ok(request) => naming.request = Some((id, request)),
            Err(error) => {
                let spent = naming.family.is_none();
                self.phase = self.phase_without_connection(spent);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes the result of the lookup. The loop settles the channel next, which then connects.
    fn take_addresses(&mut self, found: Result<Vec<Address>>) {
        if let Phase::Resolving(naming) = &mut self.phase {
            naming.found = Some(found);
        }
    }

    /// Connects to the addresses, if the lookup has ended.
    ///
    /// # Errors
    ///
    /// The error of the lookup, or those of [`connect`](Endpoint::connect).
    pub(super) fn connect_to_found(&mut self) -> Result<()> {
        let Phase::Resolving(naming) = &mut self.phase else {
            return Ok(());
        };
        let Some(found) = naming.found.take() else {
            return Ok(());
        };
        let family = naming.family;
        let spent = family.is_none();
        self.phase = self.phase_without_connection(spent);
        let mut addresses = found?;
        if let Some(family) = family {
            addresses.retain(|address| address.family() == family);
        }
        // The lookup may have taken most of the time.
        self.note_activity();
        self.connect_to(addresses, spent)
    }
}
