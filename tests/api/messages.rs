//! The messages of errors.

use std::io::ErrorKind;
use std::net::TcpListener;

use crate::common::TempDir;
use fdloop::{Address, Dispatcher, Error, ToAddresses};

/// Returns the error of listening there.
#[track_caller]
fn listen_in_vain(address: impl ToAddresses) -> Error {
    struct Nobody;
    impl fdloop::Handler for Nobody {}
    match Dispatcher::listen(address, Nobody) {
        Ok(_) => unreachable!("the address is in use"),
        Err(error) => error,
    }
}

#[test]
fn a_main_that_returns_the_error_says_which_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = listen_in_vain(address);
    let shown = format!("{error:?}");
    assert!(
        shown.starts_with(&format!("bind to {address} (fd ")),
        "{shown}"
    );
    assert_eq!(shown, error.to_string());
    assert!(!shown.contains("remove"), "there is no file: {shown}");
}

#[test]
fn the_file_that_a_unix_socket_left_may_be_removed() {
    let dir = TempDir::new();
    let path = dir.join("socket");
    std::fs::write(&path, "").unwrap();
    let error = listen_in_vain(Address::Path(path.clone()));
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let shown = error.to_string();
    assert!(shown.contains(path.to_str().unwrap()), "{shown}");
    assert!(
        shown.ends_with("; if no server runs there, remove the file"),
        "{shown}"
    );
}
