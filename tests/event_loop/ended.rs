//! The reason for which a run ended.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::{Probe, with_every_loop};
use fdloop::{Dispatcher, Ended, Error, EventLoop, RunOptions};

#[test]
fn each_end_of_a_run_has_its_reason() {
    with_every_loop(|event_loop| {
        assert_eq!(event_loop.ended_by(), None);
        event_loop.run().unwrap();
        assert_eq!(event_loop.ended_by(), Some(Ended::NoWork));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let channel = Dispatcher::new(ours, Probe::silent()).unwrap();
        let id = event_loop.add(channel).unwrap();
        let once = RunOptions::new().count(1).timeout(Duration::ZERO);
        event_loop.run_with(once).unwrap();
        assert_eq!(event_loop.ended_by(), Some(Ended::Count));
        event_loop.stop();
        assert!(event_loop.is_stopping());
        event_loop.run().unwrap();
        assert_eq!(event_loop.ended_by(), Some(Ended::Stopped));
        assert!(!event_loop.is_stopping());
        event_loop.stop_when_idle();
        assert!(event_loop.is_stopping());
        event_loop.run().unwrap();
        assert_eq!(event_loop.ended_by(), Some(Ended::Idle));
        event_loop.call_later(Duration::ZERO, |_| Err(Error::ExitNow));
        assert!(event_loop.run().is_err());
        assert_eq!(event_loop.ended_by(), Some(Ended::Error));
        event_loop.call_later(Duration::ZERO, |event_loop: &mut EventLoop| {
            event_loop.stop();
            Ok(())
        });
        assert!(event_loop.run_until_closed(id).unwrap().is_none());
        assert_eq!(event_loop.ended_by(), Some(Ended::Stopped));
        drop(theirs);
        assert!(event_loop.run_until_closed(id).unwrap().is_some());
        assert_eq!(event_loop.ended_by(), Some(Ended::Closed));
    });
}
