//! The example `reuseport_echo`: a loop in each thread.
// Elsewhere the kernel does not distribute connections.
#![cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::common::PATIENCE;
use crate::common::programs::{ANY_PORT, server, with_each_backend};

const THREADS: usize = 3;
const CONNECTIONS: usize = 60;

#[test]
fn every_thread_serves_some_of_the_connections() {
    with_each_backend(|backend| {
        let arguments = ["--threads", &THREADS.to_string(), ANY_PORT];
        let (server, address) = server("reuseport_echo", backend, &arguments);
        // All are open at once.
        let clients = [(); CONNECTIONS].map(|()| TcpStream::connect(&address).unwrap());
        for (number, mut client) in clients.into_iter().enumerate() {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let text = format!("hello from {number}");
            client.write_all(text.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut echo = String::new();
            client.read_to_string(&mut echo).unwrap();
            assert_eq!(echo, text);
        }
        server.signal("TERM");
        let ended = server.finish();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines = String::from_utf8(ended.stdout).unwrap();
        let served: Vec<usize> = lines
            .lines()
            .filter_map(|line| {
                line.split_once(" served ")?
                    .1
                    .split(' ')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect();
        assert_eq!(served.len(), THREADS, "{lines}");
        assert_eq!(served.iter().sum::<usize>(), CONNECTIONS, "{lines}");
        // By chance, once in ten thousand million.
        assert!(served.iter().all(|served| *served > 0), "{lines}");
    });
}

#[test]
fn an_address_that_another_program_has_is_an_error() {
    with_each_backend(|backend| {
        let taken = std::net::TcpListener::bind(ANY_PORT).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let ended = crate::common::programs::run("reuseport_echo", backend, &[&address]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&address), "{ended:?}");
    });
}
