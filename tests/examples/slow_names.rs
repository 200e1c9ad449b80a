//! Examples that connect to a name whose lookup does not end: with HOSTALIASES, glibc's resolver
//! reads a file of aliases, which here is a FIFO without a writer.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::programs::{ANY_PORT, Program, example, with_each_backend};
use crate::common::{PATIENCE, TempDir};
use fdloop::Backend;
use nix::sys::stat::Mode;

/// Starts an example for which lookups of names without dots hang.
fn start(name: &str, backend: Backend, dir: &TempDir, arguments: &[&str]) -> Program {
    let fifo = dir.join("aliases");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let mut command = Command::new(example(name));
    command.env("HOSTALIASES", fifo).args(arguments);
    command.arg("--backend").arg(backend.to_string());
    Program::start(name, command)
}

/// Opens the aliases for writing, once a lookup reads them.
fn writer(dir: &TempDir) -> File {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut options = File::options();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        match options.open(dir.join("aliases")) {
            Ok(file) => return file,
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO)),
        }
        assert!(Instant::now() < deadline, "there is no lookup");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn port_forward_goes_on_while_a_name_is_resolved() {
    with_each_backend(|backend| {
        let dir = TempDir::new();
        let arguments = ["--timeout", "0.2", ANY_PORT, "slow:80"];
        let mut forwarder = start("port_forward", backend, &dir, &arguments);
        let address = forwarder.address();
        // More clients than there are threads.
        let clients = (0..6).map(|_| {
            let mut client = TcpStream::connect(&address).unwrap();
            client.write_all(b"hello").unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
        });
        for mut client in clients.collect::<Vec<_>>() {
            // Not `read`: with a timeout, a signal to this process ends that (EINTR).
            match client.read_to_end(&mut Vec::new()).map_err(|e| e.kind()) {
                Ok(0) | Err(ErrorKind::ConnectionReset) => {}
                other => panic!("{other:?}"),
            }
        }
        forwarder.end_with("TERM");
    });
}

#[test]
fn http_client_can_be_interrupted_while_a_name_is_resolved() {
    with_each_backend(|backend| {
        for (timeout, said) in [(None, "interrupted"), (Some("0.1"), "could not be reached")] {
            let dir = TempDir::new();
            let mut arguments = vec!["http://slow/"];
            if let Some(timeout) = timeout {
                arguments.extend(["--timeout", timeout]);
            }
            let client = start("http_client", backend, &dir, &arguments);
            // By then it handles signals. While this is open, the lookup goes on reading.
            let _aliases = writer(&dir);
            if timeout.is_none() {
                client.signal("INT");
            }
            let ended = client.finish();
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains(said), "{ended:?}");
        }
    });
}
