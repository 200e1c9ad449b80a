//! The example `prefork`: workers that share a listener.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::programs::{ANY_PORT, Program, server, with_each_backend};

const WORKERS: usize = 3;

/// Starts the example, and reads the pids of its workers.
fn start(backend: fdloop::Backend) -> (Program, String, BTreeSet<String>) {
    let arguments = ["--workers", &WORKERS.to_string(), ANY_PORT];
    let (mut parent, address) = server("prefork", backend, &arguments);
    let workers = (0..WORKERS).map(|_| started(&mut parent)).collect();
    (parent, address, workers)
}

/// The next worker that the parent starts.
fn started(parent: &mut Program) -> String {
    let line = parent.line();
    line.strip_prefix("worker ").unwrap().to_owned()
}

/// Connects, and checks that a worker echoes. Returns the worker's pid.
fn connect(address: &str) -> (BufReader<TcpStream>, String) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = BufReader::new(stream);
    let worker = line(&mut client);
    let worker = worker.strip_prefix("worker ").unwrap().to_owned();
    client.get_mut().write_all(b"hello\n").unwrap();
    assert_eq!(line(&mut client), "hello");
    (client, worker)
}

fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn kill(signal: &str, process: &str) -> bool {
    let mut command = Command::new("kill");
    command.args(["-s", signal, process]).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// Waits until the connection ends, in order or not.
fn assert_ends(mut client: BufReader<TcpStream>) {
    // Not `read`, which a signal to this process may end (EINTR).
    match client.read_to_end(&mut Vec::new()).map_err(|e| e.kind()) {
        Ok(0) | Err(ErrorKind::ConnectionReset) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_all_end_with_the_parent() {
    with_each_backend(|backend| {
        for signal in ["TERM", "INT"] {
            let (mut parent, address, mut workers) = start(backend);
            let mut all = workers.clone();
            let (client, first) = connect(&address);
            assert!(workers.remove(&first), "{first} of {workers:?}");
            assert!(kill("KILL", &first));
            assert_ends(client);
            let another = started(&mut parent);
            assert!(!all.contains(&another));
            all.insert(another.clone());
            workers.insert(another);
            // Those that hold a connection serve others meanwhile.
            let clients: Vec<_> = (0..20).map(|_| connect(&address)).collect();
            for (_, worker) in &clients {
                assert!(workers.contains(worker), "{worker} of {workers:?}");
            }
            parent.signal(signal);
            let ended = parent.succeed();
            assert!(ended.stderr.contains(&first), "{ended:?}");
            for (client, _) in clients {
                assert_ends(client);
            }
            for worker in all {
                assert!(!kill("0", &worker), "{worker} is still there");
            }
        }
    });
}

#[test]
fn the_workers_end_when_the_parent_is_killed() {
    with_each_backend(|backend| {
        let (parent, address, _) = start(backend);
        let (client, _) = connect(&address);
        parent.signal("KILL");
        assert_ends(client);
        drop(parent);
        // The last of them has the listener.
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(&address).is_ok() {
            assert!(Instant::now() < deadline, "a worker is left");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_worker_that_is_told_to_end_ends_in_order_and_alone() {
    with_each_backend(|backend| {
        let (mut parent, address, workers) = start(backend);
        for worker in &workers {
            assert!(kill("TERM", worker));
            started(&mut parent);
        }
        let (_client, worker) = connect(&address);
        assert!(!workers.contains(&worker));
        parent.signal("TERM");
        let stderr = parent.succeed().stderr;
        assert_eq!(
            stderr.matches("exit status: 0").count(),
            WORKERS,
            "{stderr}"
        );
    });
}
