//! The operations that each kind of callback may perform on everything in the loop.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{Probe, Seen, settle, turn_until, with_every_loop};
use fdloop::{ChannelId, Dispatcher, Ended, EventLoop, Result};

/// A kind of callback.
#[derive(Debug, Clone, Copy)]
enum From {
    Handler,
    Timer,
    PeriodicTimer,
    RemoteCall,
    /// Made by a remote call, which is made before its own pass ends.
    CallOfACall,
}

const ALL: [From; 5] = [
    From::Handler,
    From::Timer,
    From::PeriodicTimer,
    From::RemoteCall,
    From::CallOfACall,
];

type Act = Box<dyn FnOnce(&mut EventLoop) -> Result<()>>;

/// Has `act` called once by a callback of that kind. Returns the values that must live until then.
fn schedule(event_loop: &mut EventLoop, from: From, act: Act) -> Option<UnixStream> {
    let act = event_loop.keep(Some(act));
    let call = move |event_loop: &mut EventLoop| match event_loop.take(act).flatten() {
        Some(act) => act(event_loop),
        None => Ok(()),
    };
    match from {
        From::Handler => {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let probe = Probe::silent().on_read(move |io| {
                io.recv(&mut [0; 8])?;
                io.close();
                call(io.event_loop())
            });
            event_loop
                .add(Dispatcher::new(ours, probe).unwrap())
                .unwrap();
            return Some(theirs);
        }
        From::Timer => {
            event_loop.call_later(Duration::ZERO, call);
        }
        From::PeriodicTimer => {
            event_loop.call_every(Duration::from_nanos(1), call);
        }
        From::RemoteCall => event_loop.remote().unwrap().call(call).unwrap(),
        From::CallOfACall => {
            let remote = event_loop.remote().unwrap();
            let inner = remote.clone();
            remote.call(move |_| inner.call(call)).unwrap();
        }
    }
    None
}

type Id = ChannelId<Dispatcher<Probe>>;

/// Adds a channel that is ready in the next pass, and so in the pass of the callback.
fn ready(event_loop: &mut EventLoop) -> (Id, Rc<Seen>, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"hello").unwrap();
    let (probe, seen) = Probe::new();
    let id = event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    (id, seen, theirs)
}

/// For each kind of callback and each backend: `prepare` makes the objects that the callback acts
/// on, and returns the act and a check of its effect.
fn for_each_kind(prepare: impl Fn(&mut EventLoop) -> (Act, Check)) {
    for from in ALL {
        with_every_loop(|event_loop| {
            let (act, check) = prepare(event_loop);
            let done = Rc::new(Cell::new(false));
            let is_done = Rc::clone(&done);
            let act: Act = Box::new(move |event_loop| {
                is_done.set(true);
                act(event_loop)
            });
            let _alive = schedule(event_loop, from, act);
            turn_until(event_loop, "the callback was called", || done.get());
            settle(event_loop);
            check(event_loop);
        });
    }
}

type Check = Box<dyn FnOnce(&mut EventLoop)>;

#[test]
fn every_callback_may_add_a_channel_which_is_served_from_then_on() {
    for_each_kind(|_| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"early").unwrap();
        let (probe, seen) = Probe::new();
        let act = move |event_loop: &mut EventLoop| {
            event_loop.add(Dispatcher::new(ours, probe)?).map(drop)
        };
        let check = move |_: &mut EventLoop| {
            let _theirs = theirs;
            assert_eq!(seen.received(), b"early");
        };
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_close_a_channel_which_hears_nothing_of_it() {
    for_each_kind(|event_loop| {
        let (id, seen, mut theirs) = ready(event_loop);
        let act = move |event_loop: &mut EventLoop| {
            assert!(event_loop.close(id)?);
            assert!(!event_loop.close(id)? && event_loop.get(id).is_none());
            Ok(())
        };
        let check = move |event_loop: &mut EventLoop| {
            assert!(!event_loop.contains(id) && !seen.heard("close"));
            assert!(matches!(theirs.read(&mut [0; 1]), Ok(0) | Err(_)), "closed");
        };
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_take_a_channel_out_and_add_it_again() {
    for_each_kind(|event_loop| {
        let (id, seen, mut theirs) = ready(event_loop);
        let act = move |event_loop: &mut EventLoop| {
            let channel = event_loop.remove(id).unwrap();
            assert!(channel.connected() && !event_loop.contains(id));
            event_loop.add(channel).map(drop)
        };
        let check = move |event_loop: &mut EventLoop| {
            theirs.write_all(b", again").unwrap();
            settle(event_loop);
            assert_eq!(seen.received(), b"hello, again");
            assert!(!event_loop.contains(id), "under another id");
        };
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_reach_a_channel_and_visit_it() {
    for_each_kind(|event_loop| {
        let (id, _, mut theirs) = ready(event_loop);
        let act = move |event_loop: &mut EventLoop| {
            event_loop.get_mut(id).unwrap().send(b"one ")?;
            event_loop.with(id, |channel, event_loop| {
                channel.enter(event_loop, |_, io| io.send(b"two").map(drop))
            })
        };
        let check = move |_: &mut EventLoop| {
            let mut got = [0; 7];
            theirs.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"one two");
        };
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_close_all() {
    for_each_kind(|event_loop| {
        let peers: Vec<_> = (0..3).map(|_| ready(event_loop).2).collect();
        let act = |event_loop: &mut EventLoop| event_loop.close_all(false);
        let check = move |event_loop: &mut EventLoop| {
            assert!(event_loop.is_empty());
            for mut peer in peers {
                assert!(matches!(peer.read(&mut [0; 1]), Ok(0) | Err(_)));
            }
            // The loop's own channels are not closed with the others.
            assert!(event_loop.remote().unwrap().wake().is_ok());
            assert_eq!(event_loop.turn(None).unwrap(), 1);
        };
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_make_move_and_cancel_timers() {
    for_each_kind(|event_loop| {
        let fired = Rc::new(Cell::new(0));
        let add = |fired: &Rc<Cell<u32>>, number: u32| {
            let fired = Rc::clone(fired);
            move |_: &mut EventLoop| {
                fired.set(fired.get() + number);
                Ok(())
            }
        };
        let hour = Duration::from_secs(3600);
        let cancelled = event_loop.call_later(hour, add(&fired, 1));
        let ticking = event_loop.call_every(hour, add(&fired, 10));
        let moved = event_loop.call_later(hour, add(&fired, 100));
        let made = add(&fired, 1000);
        let act = move |event_loop: &mut EventLoop| {
            assert!(event_loop.cancel(cancelled) && !event_loop.cancel(cancelled));
            assert!(event_loop.cancel(ticking));
            assert!(event_loop.reset(moved, Duration::ZERO));
            event_loop.call_later(Duration::ZERO, made);
            Ok(())
        };
        let check = move |event_loop: &mut EventLoop| {
            assert_eq!(fired.get(), 1100);
            assert!(!event_loop.cancel(moved) && !event_loop.reset(ticking, hour));
        };
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_cancel_a_timer_that_is_due_in_the_same_pass() {
    for_each_kind(|_| {
        let fired = Rc::new(Cell::new(false));
        let due = Rc::clone(&fired);
        let act = move |event_loop: &mut EventLoop| {
            let timer = event_loop.call_later(Duration::ZERO, move |_| {
                due.set(true);
                Ok(())
            });
            assert!(event_loop.cancel(timer));
            Ok(())
        };
        let check = move |_: &mut EventLoop| assert!(!fired.get());
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_call_the_loop_from_another_thread_and_wait_for_that_thread() {
    for_each_kind(|event_loop| {
        let remote = event_loop.remote().unwrap();
        let called = event_loop.keep(0);
        let act = move |_: &mut EventLoop| {
            let worker = std::thread::spawn(move || {
                remote.call(move |event_loop| {
                    *event_loop.state_mut(called).unwrap() += 1;
                    Ok(())
                })?;
                remote.wake()
            });
            worker.join().unwrap()
        };
        let check = move |event_loop: &mut EventLoop| {
            assert_eq!(event_loop.state(called), Some(&1));
        };
        (Box::new(act), Box::new(check))
    });
}

#[test]
fn every_callback_may_stop_the_loop_which_goes_on_when_it_is_run_again() {
    for from in ALL {
        with_every_loop(|event_loop| {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            event_loop
                .add(Dispatcher::new(ours, Probe::silent()).unwrap())
                .unwrap();
            for _ in 0..2 {
                let stop = |event_loop: &mut EventLoop| {
                    event_loop.stop();
                    Ok(())
                };
                let _alive = schedule(event_loop, from, Box::new(stop));
                event_loop.run().unwrap();
                assert_eq!(event_loop.ended_by(), Some(Ended::Stopped), "{from:?}");
                assert_eq!(event_loop.len(), 1);
            }
        });
    }
}
