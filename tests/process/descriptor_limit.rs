//! A listener without descriptors: neither closed nor spinning, and well again by
//! itself. Runs in a process of its own, whose limit it lowers.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{in_own_process, on_every_backend, this_test, turn_until};
use fdloop::{Address, Dispatcher, EventLoop, Handler, Io, Result, Socket};

/// Keeps what it accepts.
struct Keeper(Rc<RefCell<Vec<Socket>>>);

impl Handler for Keeper {
    fn handle_accepted(&mut self, _: &mut Io<'_>, socket: Socket, _: Address) -> Result<()> {
        self.0.borrow_mut().push(socket);
        Ok(())
    }
}

/// Takes every descriptor that the process may still have.
fn take_all() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                return files;
            }
        }
    }
}

fn dial(listener: &Address) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", listener.port().unwrap())).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Checks whether the end has come, or a reset: refused either way.
#[track_caller]
fn is_refused(client: &mut TcpStream) -> bool {
    match client.read(&mut [0; 1]).map_err(|e| e.kind()) {
        Ok(0) | Err(io::ErrorKind::ConnectionReset) => true,
        Err(io::ErrorKind::WouldBlock) => false,
        answer => panic!("{answer:?} from a listener that refuses"),
    }
}

#[test]
fn a_listener_without_descriptors_refuses_and_recovers() {
    in_own_process(this_test!(), refuse_and_recover);
}

fn refuse_and_recover() {
    limit_descriptors(256);
    on_every_backend(|backend| {
        let mut event_loop = EventLoop::with_backend(backend).unwrap();
        let kept = Rc::default();
        let server = Dispatcher::listen("127.0.0.1:0", Keeper(Rc::clone(&kept))).unwrap();
        let address = server.local_addr().unwrap();
        let id = event_loop.add(server).unwrap();

        let mut clients: Vec<_> = (0..3).map(|_| dial(&address)).collect();
        let hogs = take_all();
        // All that wait are refused, and then there is nothing to do.
        for client in &mut clients {
            turn_until(&mut event_loop, "it is refused", || is_refused(client));
        }
        let idle = event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(idle, 0, "the loop is kept awake");
        assert!(kept.borrow().is_empty());
        assert!(event_loop.get(id).unwrap().accepting());

        drop(hogs);
        let _client = dial(&address);
        turn_until(&mut event_loop, "a connection is accepted", || {
            !kept.borrow().is_empty()
        });
    });
}

/// Lowers the limit, so that it is reached soon.
fn limit_descriptors(most: libc::rlim_t) {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    #[allow(
        unsafe_code,
        reason = "there is no safe interface among the dependencies"
    )]
    // SAFETY: the structure is valid for reading, and outlives the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}
