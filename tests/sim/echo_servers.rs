//! The handlers of the servers that echo: `echo_server`, `embed`, `prefork` and `reuseport_echo`.

use std::time::Duration;

use crate::SEEDS;
use crate::checked::Checked;
use crate::speaker::{Manner, Speaker, pattern, set_pace};
use crate::stage::{Connection, play};
use fdloop::sim::{World, for_seeds};
use fdloop::{Dispatcher, DispatcherWithSend, EventLoop, Handler, Result};

macro_rules! programs {
    ($($name:ident: $path:literal),+) => {$(
        #[path = $path]
        #[allow(dead_code, reason = "the program around the handler")]
        mod $name;
    )+};
}

programs! {
    echo_server: "../../examples/echo_server.rs",
    embed: "../../examples/embed.rs",
    prefork: "../../examples/prefork.rs",
    reuseport_echo: "../../examples/reuseport_echo.rs"
}

const TIMEOUT: Duration = Duration::from_secs(60);

fn add(
    world: &World,
    event_loop: &mut EventLoop,
    echo: impl Handler + 'static,
) -> Result<Connection> {
    let (stream, peer) = world.pair();
    let (echo, heard) = Checked::new(echo);
    let mut echo = DispatcherWithSend::over(stream, echo);
    echo.set_timeout(Some(TIMEOUT));
    if world.chance(50) {
        // So that little congests it.
        echo.set_watermarks(10, 100);
    }
    let id = event_loop.add(echo.with_backpressure())?.into();
    let most = 1 << world.between(0..=11);
    set_pace(world, &peer, most);
    let length = world.between(0..=most as u64) as usize;
    let speaker = Speaker::new(world, peer, pattern(0..length));
    Ok(Connection::new(speaker, heard, id))
}

#[test]
fn servers_that_echo_return_every_byte_in_order() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let mut connections = [
            add(world, &mut event_loop, echo_server::Echo)?,
            add(world, &mut event_loop, embed::Echo)?,
            add(world, &mut event_loop, prefork::Echo)?,
            add(world, &mut event_loop, reuseport_echo::Echo)?,
        ];
        play(
            world,
            &mut event_loop,
            &mut connections,
            EventLoop::is_empty,
            |_, all| all.iter_mut().for_each(Connection::echo),
        )?;
        connections.iter().for_each(Connection::check_service);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_worker_of_prefork_stops_when_its_parent_is_gone() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let (stream, peer) = world.pair();
        let (life_line, heard) = Checked::new(prefork::LifeLine);
        event_loop.add(Dispatcher::over(stream, life_line))?;
        let manners = [Manner::HalfCloses, Manner::Closes, Manner::Resets];
        let manner = *world.pick(&manners).unwrap();
        let words = pattern(0..world.between(0..=20) as usize);
        let parent = Speaker::with_manner(world, peer, words, manner);
        world.run(&mut event_loop)?;
        assert!(event_loop.is_stopping() && event_loop.is_empty());
        assert_eq!((heard.closes(), parent.peer.received().len()), (1, 0));
        Ok(())
    })
    .unwrap();
}
