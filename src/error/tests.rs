use super::*;
use std::mem;

fn errno(number: i32) -> Error {
    Error::from(io::Error::from_raw_os_error(number))
}

#[test]
fn errno_classes_are_what_the_contract_names() {
    for number in [
        libc::ECONNRESET,
        libc::ENOTCONN,
        libc::ESHUTDOWN,
        libc::ECONNABORTED,
        libc::EPIPE,
        libc::EBADF,
        libc::ETIMEDOUT,
    ] {
        assert!(errno(number).is_disconnected(), "{number}");
        assert!(!errno(number).would_block(), "{number}");
    }
    assert!(errno(libc::EAGAIN).would_block());
    assert!(errno(libc::EINTR).would_block());
    assert!(!errno(libc::ECONNREFUSED).is_disconnected());
    assert!(Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_disconnected());
}

#[test]
fn a_failed_call_names_what_and_where_and_why() {
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    let error = Error::system("connect to 127.0.0.1:1", Some(7), refused);
    let text = error.to_string();
    assert!(
        text.starts_with("connect to 127.0.0.1:1 (fd 7): "),
        "{text}"
    );
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    assert!(error.source().is_some());
    assert_eq!(
        io::Error::from(error).kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn what_main_returns_is_shown_in_words() {
    let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
    let error = Error::system("bind to 127.0.0.1:8080", Some(3), in_use);
    assert_eq!(format!("{error:?}"), error.to_string());
    assert_eq!(format!("{:?}", Error::ExitNow), Error::ExitNow.to_string());
    assert_eq!(format!("{:?}", Error::other("no greeting")), "no greeting");
}

/// One of each variant.
fn one_of_each() -> Vec<Error> {
    vec![
        Error::ExitNow,
        errno(libc::ECONNRESET),
        Error::system(
            "connect",
            Some(7),
            io::Error::from_raw_os_error(libc::EBADF),
        )
        .advise("check the address"),
        Error::misuse(io::ErrorKind::Unsupported, "no"),
        Error::LineTooLong(3),
        Error::panicked(&"a message"),
        Error::other("no greeting"),
        Error::fatal(io::Error::from_raw_os_error(libc::ENOSPC)),
    ]
}

#[test]
fn an_error_comes_back_from_an_io_error_as_it_was() {
    for (error, again) in one_of_each().into_iter().zip(one_of_each()) {
        let wrapped = io::Error::from(error);
        assert_eq!(wrapped.kind(), again.kind());
        assert_eq!(wrapped.to_string(), again.to_string());
        let back = Error::from(wrapped);
        assert_eq!(mem::discriminant(&back), mem::discriminant(&again));
        assert_eq!(back.kind(), again.kind());
        assert_eq!(back.raw_os_error(), again.raw_os_error());
        assert_eq!(back.is_disconnected(), again.is_disconnected());
        assert_eq!(back.to_string(), again.to_string());
    }
}

#[test]
fn an_error_of_the_crate_is_not_hidden_in_that_of_a_system_call() {
    for (error, again) in one_of_each().into_iter().zip(one_of_each()) {
        if matches!(error, Error::Io(_)) {
            continue; // It gets the context that it does not have.
        }
        let outer = Error::system("write", Some(9), error.into());
        assert_eq!(outer.to_string(), again.to_string());
        assert_eq!(outer.raw_os_error(), again.raw_os_error());
    }
}

#[test]
fn a_fatal_error_shows_the_one_that_it_was_made_of() {
    let error = Error::fatal(io::Error::from_raw_os_error(libc::EPIPE));
    assert!(error.is_exit() && !error.is_disconnected());
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let error = Error::fatal(errno(libc::EAGAIN));
    assert!(error.is_exit() && !error.would_block());
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    assert_eq!(Error::fatal("no disk").to_string(), "no disk");
    assert!(matches!(Error::fatal(Error::ExitNow), Error::ExitNow));
    // Once is enough.
    let Error::Fatal(inner) = Error::fatal(Error::fatal("no disk")) else {
        panic!("not fatal");
    };
    assert!(matches!(*inner, Error::Other(_)));
}

#[test]
fn each_part_is_an_error_with_accessors() {
    fn is_error<T: StdError + Send + Sync + 'static>(_: &T) {}
    for error in one_of_each() {
        is_error(&error);
        match error {
            Error::System(error) => {
                is_error(&*error);
                assert_eq!(error.io_error().raw_os_error(), Some(libc::EBADF));
                assert_eq!(error.advice(), Some("check the address"));
                assert_eq!((error.action(), error.fd()), ("connect", Some(7)));
            }
            Error::Misuse(misuse) => {
                is_error(&*misuse);
                assert_eq!(misuse.kind(), io::ErrorKind::Unsupported);
                assert_eq!(misuse.message(), "no");
            }
            Error::Panicked(panic) => {
                is_error(&*panic);
                assert_eq!(panic.to_string(), "a handler panicked: a message");
            }
            _ => {}
        }
    }
}

#[derive(Debug)]
struct Caused(&'static str, Option<Box<Caused>>);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for Caused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

#[test]
fn causes_that_are_not_in_the_text_are_shown_behind_it() {
    let cause = Caused("no such host", Some(Box::new(Caused("no route", None))));
    let error = Error::other(Caused("cannot reach it: no such host", Some(cause.into())));
    assert_eq!(error.to_string(), "cannot reach it: no such host");
    assert_eq!(
        format!("{error:?}"),
        "cannot reach it: no such host: no route"
    );
}

#[test]
fn a_result_is_one_word_larger_than_an_io_error() {
    // Two registers where an io::Error is one word, as on 64-bit systems.
    let most = size_of::<io::Error>() + size_of::<usize>();
    assert_eq!(size_of::<Result<()>>(), most);
}
