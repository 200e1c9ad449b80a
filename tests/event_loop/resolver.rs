//! Names that threads resolve.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{PATIENCE, with_every_loop};
use fdloop::{Address, Error, EventLoop, Lookup, Resolver, Result};

type Outcome = Rc<RefCell<Option<Result<Vec<Address>>>>>;

fn resolve(
    resolver: &Resolver,
    event_loop: &mut EventLoop,
    name: &str,
    timeout: Duration,
) -> (Lookup, Outcome) {
    let outcome = Outcome::default();
    let found = Rc::clone(&outcome);
    let lookup = resolver.resolve(event_loop, name, timeout, move |_, addresses| {
        *found.borrow_mut() = Some(addresses);
        Ok(())
    });
    (lookup.unwrap(), outcome)
}

#[test]
fn a_lookup_keeps_run_going_until_its_function_was_called() {
    with_every_loop(|event_loop| {
        let resolver = Resolver::start(event_loop, 2).unwrap();
        let names = ["127.0.0.1:80", "localhost:81", "[::1]:82", "/a/path"];
        let lookups = names.map(|name| resolve(&resolver, event_loop, name, PATIENCE).1);
        event_loop.run().unwrap();
        for (name, outcome) in names.iter().zip(lookups) {
            let addresses = outcome.take().unwrap().unwrap();
            assert!(!addresses.is_empty(), "{name}");
        }
    });
}

#[test]
fn a_name_that_does_not_exist_is_an_error_and_so_is_nonsense() {
    with_every_loop(|event_loop| {
        let resolver = Resolver::start(event_loop, 1).unwrap();
        let (_, nonsense) = resolve(&resolver, event_loop, "nonsense", PATIENCE);
        event_loop.run().unwrap();
        let error = nonsense.take().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    });
}

#[test]
fn a_lookup_is_cancelled_or_times_out() {
    with_every_loop(|event_loop| {
        let resolver = Resolver::start(event_loop, 1).unwrap();
        let (lookup, cancelled) = resolve(&resolver, event_loop, "localhost:80", PATIENCE);
        assert!(event_loop.cancel(lookup) && !event_loop.cancel(lookup));
        event_loop.run().unwrap();
        assert!(cancelled.borrow().is_none());
        // The time is over before the loop looks.
        let (lookup, late) = resolve(&resolver, event_loop, "localhost:80", Duration::ZERO);
        event_loop.run().unwrap();
        if let Err(error) = late.take().unwrap() {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(error.to_string().contains("localhost:80"), "{error}");
        }
        assert!(!event_loop.cancel(lookup));
    });
}

#[test]
fn an_error_of_the_function_is_logged_and_the_exit_error_leaves_the_loop() {
    with_every_loop(|event_loop| {
        let resolver = Resolver::start(event_loop, 1).unwrap();
        let name = "127.0.0.1:80";
        let lookup = resolver.resolve(event_loop, name, PATIENCE, |_, _| Err(Error::other("no")));
        lookup.unwrap();
        event_loop.run().unwrap();
        let lookup = resolver.resolve(event_loop, name, PATIENCE, |_, _| Err(Error::ExitNow));
        lookup.unwrap();
        assert!(matches!(event_loop.run(), Err(Error::ExitNow)));
    });
}

#[test]
fn a_resolver_serves_its_own_loop_alone() {
    let mut event_loop = EventLoop::new().unwrap();
    let resolver = Resolver::start(&mut event_loop, 1).unwrap();
    drop(event_loop);
    let mut other = EventLoop::new().unwrap();
    other.remote().unwrap();
    let refused = resolver.resolve(&mut other, "127.0.0.1:80", PATIENCE, |_, _| Ok(()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    other.run().unwrap(); // no timer is left
}
