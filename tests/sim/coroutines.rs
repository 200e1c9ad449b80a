//! Coroutines in the simulated world.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fdloop::sim::{End, for_seeds};
use fdloop::{Async, Handle, Result};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::checked::pattern;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Echoes until the end of the input, or a minute of silence.
async fn echo(handle: Handle, stream: fdloop::sim::Stream) -> Result<()> {
    let mut stream = Async::over(&handle, stream)?;
    let mut buf = [0; 100];
    loop {
        match handle.timeout(TIMEOUT, stream.read(&mut buf)).await?? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}

#[test]
fn a_coroutine_echoes_every_byte_in_order_or_times_out() {
    for_seeds(1_000, |world| {
        let mut event_loop = world.event_loop();
        let handle = event_loop.handle();
        let mut sessions = Vec::new();
        for _ in 0..world.between(1..=3) {
            let (stream, peer) = world.pair();
            let ended = Rc::new(Cell::new(None));
            let (end, clock) = (Rc::clone(&ended), handle.clone());
            event_loop
                .spawn(async move {
                    let echoed = echo(clock, stream).await;
                    end.set(Some(echoed.map_err(|error| error.kind())));
                })
                .detach();
            let words = pattern(0..world.between(0..=2_000) as usize);
            peer.send(&words);
            let falls_silent = world.chance(30);
            if !falls_silent {
                let later = peer.clone();
                let delay = world.duration(Duration::ZERO..=TIMEOUT / 2);
                world.call_later(delay, move |_| later.shutdown());
            }
            sessions.push((peer, words, falls_silent, ended));
        }
        world.run(&mut event_loop)?;
        for (peer, words, falls_silent, ended) in sessions {
            assert_eq!(peer.received(), words);
            assert_eq!(peer.end(), Some(End::InOrder));
            let expected = match falls_silent {
                true => Err(std::io::ErrorKind::TimedOut),
                false => Ok(()),
            };
            assert_eq!(ended.get(), Some(expected));
        }
        assert!(event_loop.is_empty());
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
