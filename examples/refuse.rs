//! A listener that closes every connection at once.
//!
//! This is what a [`Handler`] does by default: `handle_accepted` drops the socket, and
//! dropping a socket closes it. (Unlike on a port without a listener, connecting
//! succeeds.)
//!
//! Try it:
//!
//! ```text
//! cargo run --example refuse -- 127.0.0.1:8080 &
//! nc -v 127.0.0.1 8080 </dev/null
//! ```

mod common;

use std::process::ExitCode;

use common::{Arguments, Failure};
use fdloop::Handler;

const USAGE: &str = "\
usage: refuse [--backend select|poll|epoll] [ADDR]
  ADDR is HOST:PORT, IPV4:PORT, [IPV6]:PORT, a path with a slash, unix:PATH or @NAME;
  127.0.0.1:8080 by default";

struct Refuse;

impl Handler for Refuse {}

fn main() -> ExitCode {
    common::main(USAGE, &["--backend"], run)
}

fn run(mut arguments: Arguments) -> Result<(), Failure> {
    let backend = arguments.backend()?;
    let address = arguments.operand()?;
    arguments.finish()?;
    let addresses = common::addresses(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    common::serve(backend, &addresses, Refuse)
}
