//! Parsing addresses, and the errors for text that is not an address.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use super::Address;
use crate::error::{Error, Result};
use crate::sys;

impl FromStr for Address {
    type Err = Error;

    /// Parses an address without asking a resolver; for host names see
    /// [`ToAddresses`](super::ToAddresses).
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with a message that says what to write instead.
    fn from_str(text: &str) -> Result<Self> {
        parse(text)?.ok_or_else(|| refuse(text, "IPv4:PORT").into())
    }
}

/// Parses `text`. Returns `None` if it does not have the form of an address, and an error for a
/// known mistake that has a remedy.
fn parse(text: &str) -> io::Result<Option<Address>> {
    if let Some(address) = parse_unix(text)? {
        return Ok(Some(address));
    }
    check_host(text)?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Some(Address::Inet(address)));
    }
    Ok(parse_scoped(text)?.map(Address::Inet))
}

/// Parses `text` as an address. Returns `None` for a host name with a port, which only a resolver
/// turns into addresses.
///
/// # Errors
///
/// `InvalidInput` if it is neither.
pub(crate) fn parse_unless_name(text: &str) -> Result<Option<Address>> {
    if let Some(address) = parse(text)? {
        return Ok(Some(address));
    }
    match text.rsplit_once(':') {
        // Text with brackets is a malformed IPv6 address, not a host name.
        Some((host, port))
            if !host.is_empty() && !host.starts_with('[') && parse_port(port).is_some() =>
        {
            Ok(None)
        }
        _ => Err(refuse(text, "HOST:PORT").into()),
    }
}

/// Parses a port: digits alone, where `str::parse` accepts a sign as well.
fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Checks whether `path` is read as a path without `unix:` in front of it.
pub(super) fn is_plain_path(path: &[u8]) -> bool {
    path.contains(&b'/')
        && !path.starts_with(b"@")
        && !path.starts_with(b"unix:")
        && !path.windows(3).any(|three| three == b"://")
}

/// Returns the error for text that has none of the forms; `first` names the first form.
fn refuse(text: &str, first: &str) -> io::Error {
    match text.rsplit_once(':') {
        Some((host, port))
            if host.starts_with('[') == host.ends_with(']') && parse_port(port).is_none() =>
        {
            not_an_address(text, "the port must be a number from 0 to 65535")
        }
        _ => {
            let forms = format!("expected {first}, [IPv6]:PORT or a path with a slash");
            not_an_address(text, &forms)
        }
    }
}

fn not_an_address(text: &str, why: &str) -> io::Error {
    invalid(format!("{text:?} is not an address: {why}"))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Parses a Unix address. Returns `None` if `text` does not have that form.
fn parse_unix(text: &str) -> io::Result<Option<Address>> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(not_an_address(text, "the path after unix: is missing"));
        }
        return Ok(Some(Address::Path(path.into())));
    }
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Some(Address::Abstract(name.as_bytes().to_vec())));
    }
    Ok(is_plain_path(text.as_bytes()).then(|| Address::Path(text.into())))
}

/// Refuses a URL, and a port alone. Other programs accept these for a host with a port, but a
/// resolver does not find them.
fn check_host(text: &str) -> io::Result<()> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let why = format!("it is a URL; write {}", without_scheme(scheme, rest));
        return Err(not_an_address(text, &why));
    }
    let port = text.strip_prefix('*').unwrap_or(text).strip_prefix(':');
    if let Some(port) = port.and_then(parse_port) {
        let why = format!(
            "write 0.0.0.0:{port} or [::]:{port} for every interface, 127.0.0.1:{port} for this \
             machine alone"
        );
        return Err(not_an_address(text, &why));
    }
    Ok(())
}

/// Returns the text to write instead of a URL.
fn without_scheme(scheme: &str, rest: &str) -> String {
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| parse_port(port).is_some());
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => "80",
        "https" => "443",
        _ => "PORT",
    };
    match host {
        "" => "HOST:PORT or unix:PATH".to_owned(),
        host if has_port => format!("{host:?}"),
        host => format!("{:?}", format!("{host}:{port}")),
    }
}

/// Parses an address whose scope names an interface, as in `[fe80::1%eth0]:80`. (The standard
/// library parses only numeric scopes.)
fn parse_scoped(text: &str) -> io::Result<Option<SocketAddr>> {
    let Some((address, port)) = text.strip_prefix('[').and_then(|t| t.split_once("]:")) else {
        return Ok(None);
    };
    let Some((ip, scope)) = address.split_once('%') else {
        return Ok(None);
    };
    let (Ok(ip), Some(port)) = (ip.parse::<Ipv6Addr>(), parse_port(port)) else {
        return Ok(None);
    };
    let scope = sys::address::interface_index(scope).map_err(|e| {
        let why = format!("cannot find the interface {scope:?}: {e}");
        not_an_address(text, &why)
    })?;
    Ok(Some(SocketAddrV6::new(ip, port, 0, scope).into()))
}
