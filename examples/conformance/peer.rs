//! Raw peers: ordinary blocking sockets and pipe ends outside the loop.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use fdloop::{Address, Family};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    self as nix_socket, AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, SockaddrIn,
    SockaddrIn6, SockaddrLike, UnixAddr, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The time to wait for the other side, after which the scenario is in error.
const TIMEOUT_SECONDS: i64 = 2;
/// The time to wait for more input, in milliseconds.
const PATIENCE: u8 = 20;

/// A socket or the end of a pipe.
pub struct Peer(OwnedFd);

impl From<OwnedFd> for Peer {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// The end that a receive has found.
pub enum End {
    Eof,
    Reset,
}

fn sockaddr(address: &Address) -> io::Result<Box<dyn SockaddrLike>> {
    Ok(match address {
        Address::Inet(std::net::SocketAddr::V4(v4)) => Box::new(SockaddrIn::from(*v4)),
        Address::Inet(std::net::SocketAddr::V6(v6)) => Box::new(SockaddrIn6::from(*v6)),
        Address::Path(path) => Box::new(UnixAddr::new(path)?),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    })
}

impl Peer {
    fn socket(family: Family) -> io::Result<Self> {
        let family = match family {
            Family::Inet => AddressFamily::Inet,
            Family::Inet6 => AddressFamily::Inet6,
            _ => AddressFamily::Unix,
        };
        let fd = nix_socket::socket(family, SockType::Stream, SockFlag::empty(), None)?;
        let peer = Self(fd);
        peer.set_timeouts()?;
        Ok(peer)
    }

    fn set_timeouts(&self) -> io::Result<()> {
        let timeout = TimeVal::seconds(TIMEOUT_SECONDS);
        nix_socket::setsockopt(&self.0, sockopt::ReceiveTimeout, &timeout)?;
        nix_socket::setsockopt(&self.0, sockopt::SendTimeout, &timeout)?;
        Ok(())
    }

    /// Makes a bound socket, which listens unless it is to refuse connections.
    pub fn bound(family: Family, address: &Address, refusing: bool) -> io::Result<Self> {
        let peer = Self::socket(family)?;
        nix_socket::bind(peer.0.as_raw_fd(), &*sockaddr(address)?)?;
        if !refusing {
            nix_socket::listen(&peer.0, Backlog::new(8)?)?;
        }
        Ok(peer)
    }

    pub fn dial(family: Family, address: &Address) -> io::Result<Self> {
        let peer = Self::socket(family)?;
        nix_socket::connect(peer.0.as_raw_fd(), &*sockaddr(address)?)?;
        Ok(peer)
    }

    pub fn accept(&self) -> io::Result<Self> {
        let accepted = match self.address()? {
            Address::Inet(_) => TcpListener::from(self.0.try_clone()?).accept()?.0.into(),
            _ => UnixListener::from(self.0.try_clone()?).accept()?.0.into(),
        };
        let peer = Self(accepted);
        peer.set_timeouts()?;
        Ok(peer)
    }

    pub fn address(&self) -> io::Result<Address> {
        let inet = TcpListener::from(self.0.try_clone()?).local_addr();
        let unix = || Ok(UnixListener::from(self.0.try_clone()?).local_addr()?.into());
        inet.map(Address::from).or_else(|_| unix())
    }

    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        File::from(self.0.try_clone()?).write_all(data)
    }

    pub fn send_oob(&self, data: &[u8]) -> io::Result<()> {
        nix_socket::send(self.0.as_raw_fd(), data, MsgFlags::MSG_OOB)?;
        Ok(())
    }

    pub fn shutdown(&self) -> io::Result<()> {
        Ok(nix_socket::shutdown(self.0.as_raw_fd(), Shutdown::Write)?)
    }

    /// Closes the connection with a reset.
    pub fn reset_on_close(&self) -> io::Result<()> {
        let mut linger = nix_socket::getsockopt(&self.0, sockopt::Linger)?;
        (linger.l_onoff, linger.l_linger) = (1, 0);
        Ok(nix_socket::setsockopt(&self.0, sockopt::Linger, &linger)?)
    }

    /// Receives all pending input without blocking.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Option<End>)> {
        let mut file = File::from(self.0.try_clone()?);
        let mut received = Vec::new();
        let mut buf = vec![0; 65536];
        loop {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(PATIENCE))? == 0 {
                return Ok((received, None));
            }
            match file.read(&mut buf) {
                Ok(0) => return Ok((received, Some(End::Eof))),
                Ok(n) => received.extend_from_slice(&buf[..n]),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok((received, Some(End::Reset)));
                }
                Err(e) => return Err(e),
            }
        }
    }
}

/// Returns an unused address to bind to.
pub fn new_address(family: Family, folder: &Path) -> io::Result<Address> {
    Ok(match family {
        Family::Inet => (std::net::Ipv4Addr::LOCALHOST, 0).into(),
        Family::Inet6 => (std::net::Ipv6Addr::LOCALHOST, 0).into(),
        _ => {
            let count = std::fs::read_dir(folder)?.count();
            Address::Path(folder.join(format!("s{count}")))
        }
    })
}
