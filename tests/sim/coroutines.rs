//! Coroutines in the simulated world, those of the examples among them.

#[path = "../../examples/coroutine_echo.rs"]
#[allow(dead_code, reason = "the program around the coroutine")]
mod coroutine_echo;
#[path = "../../examples/coroutine_smtp/main.rs"]
#[allow(dead_code, reason = "the program around the coroutine")]
mod coroutine_smtp;

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use fdloop::sim::{World, for_seeds};
use fdloop::{Async, Conversation, EventLoop, Result};

use crate::SEEDS;
use crate::smtp_sink::{NAME, Report, SIZE_LIMIT, Script, TIMEOUT, set_pace};
use crate::speaker::{Manner, Speaker, pattern};
use crate::stage::{Connection, play};

/// The results of coroutines that have ended.
type Ends = Rc<RefCell<Vec<(usize, Option<ErrorKind>)>>>;

/// Spawns the coroutine of a connection, and notes its end.
fn spawn(
    event_loop: &mut EventLoop,
    ends: &Ends,
    number: usize,
    coroutine: impl Future<Output = Result<()>> + 'static,
) {
    let ends = Rc::clone(ends);
    let noted = async move {
        let end = coroutine.await.err().map(|error| error.kind());
        ends.borrow_mut().push((number, end));
    };
    event_loop.spawn(noted).detach();
}

#[test]
fn coroutine_echo_returns_every_byte_in_order_or_times_out() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let ends = Ends::default();
        let mut clients = Vec::new();
        let count = world.between(1..=3) as usize;
        for number in 0..count {
            let (stream, peer) = world.pair();
            let most = 1 << world.between(0..=11);
            crate::speaker::set_pace(world, &peer, most);
            let length = world.between(0..=most as u64) as usize;
            clients.push(Connection::of_coroutine(Speaker::new(
                world,
                peer,
                pattern(0..length),
            )));
            let handle = event_loop.handle();
            spawn(&mut event_loop, &ends, number, async move {
                let stream = Async::over(&handle, stream)?;
                coroutine_echo::echo(&handle, stream, Some(TIMEOUT)).await
            });
        }
        let done = |_: &EventLoop| ends.borrow().len() == count;
        play(world, &mut event_loop, &mut clients, done, |_, clients| {
            clients.iter_mut().for_each(Connection::echo);
        })?;
        for (number, end) in ends.take() {
            clients[number].check_service();
            match clients[number].speaker.manner {
                Manner::HalfCloses => assert_eq!(end, None),
                Manner::FallsSilent => assert_eq!(end, Some(ErrorKind::TimedOut)),
                Manner::Closes | Manner::Resets => {}
            }
        }
        assert!(event_loop.is_empty());
        Ok(())
    })
    .unwrap();
}

/// Begins a session of `coroutine_smtp`.
fn begin_session(
    world: &World,
    event_loop: &mut EventLoop,
    server: &Rc<RefCell<coroutine_smtp::Server>>,
    ends: &Ends,
    (number, script): (usize, &Script),
) -> Connection {
    let (stream, peer) = world.pair();
    set_pace(world, &peer);
    let (handle, server) = (event_loop.handle(), Rc::clone(server));
    spawn(event_loop, ends, number, async move {
        let chat = Conversation::over(&handle, stream)?;
        coroutine_smtp::session::serve(handle, chat, &server).await
    });
    Connection::of_coroutine(Speaker::new(world, peer, script.words.clone()))
}

#[test]
fn coroutine_smtp_replies_to_every_command_and_takes_every_message_whole() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let report = Report::default();
        let server = Rc::new(RefCell::new(coroutine_smtp::Server {
            name: NAME.to_owned(),
            maildir: None,
            size_limit: SIZE_LIMIT as u64,
            timeout: TIMEOUT,
            delivered: 0,
            report: Box::new(report.clone()),
        }));
        let ends = Ends::default();
        let (mut clients, mut scripts) = (Vec::new(), Vec::new());
        for number in 0..world.between(1..=2) as usize {
            let sender = format!("client{number}@example.org");
            let script = Script::new(world, "coroutine_smtp", &sender);
            let of = (number, &script);
            clients.push(begin_session(world, &mut event_loop, &server, &ends, of));
            scripts.push((script, sender));
        }
        play(
            world,
            &mut event_loop,
            &mut clients,
            |event_loop| ends.borrow().len() == scripts.len() && event_loop.is_empty(),
            |_, clients| {
                for (client, (script, _)) in clients.iter_mut().zip(&scripts) {
                    let received = client.traffic.received;
                    let all_said = received == script.words.len();
                    let owed = match script.may_time_out(client.speaker.manner) && all_said {
                        true => script.replies.len(),
                        false => script.owed(received),
                    };
                    client.owe(&script.replies, owed);
                }
            },
        )?;
        let report = report.take();
        for (client, (script, sender)) in clients.iter().zip(&scripts) {
            script.check_report(&report, sender, client.traffic.arrived);
            script.check_client(client);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn hours_of_sleep_take_no_time() {
    for_seeds(100, |world| {
        let mut event_loop = world.event_loop();
        let handle = event_loop.handle();
        let done = Rc::new(Cell::new(0));
        for hours in 1..=10 {
            let (handle, done) = (handle.clone(), Rc::clone(&done));
            event_loop
                .spawn(async move {
                    handle.sleep(Duration::from_secs(3600 * hours)).await;
                    done.set(done.get() + 1);
                })
                .detach();
        }
        world.run(&mut event_loop)?;
        assert_eq!(done.get(), 10);
        assert!(world.elapsed() >= Duration::from_secs(36_000));
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_interval_of_nothing_goes_on_after_a_long_pause() {
    for_seeds(1, |world| {
        let mut event_loop = world.event_loop();
        let handle = event_loop.handle();
        let ticks = Rc::new(Cell::new(0));
        let count = Rc::clone(&ticks);
        event_loop
            .spawn(async move {
                let mut interval = handle.interval(Duration::ZERO);
                for _ in 0..3 {
                    interval.tick().await;
                    count.set(count.get() + 1);
                    // More nanoseconds than 32 bits can count.
                    handle.sleep(Duration::from_secs(10)).await;
                }
            })
            .detach();
        world.run(&mut event_loop)?;
        assert_eq!(ticks.get(), 3);
        Ok(())
    })
    .unwrap();
}
