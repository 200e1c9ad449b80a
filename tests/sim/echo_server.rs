//! The handler of `echo_server`.

#[path = "../../examples/echo_server.rs"]
#[allow(dead_code, reason = "the program around the handler")]
mod program;

use std::time::Duration;

use crate::SEEDS;
use crate::checked::{Checked, Manner, Speaker, pattern, run_checked, set_pace};
use fdloop::DispatcherWithSend;
use fdloop::sim::{End, for_seeds};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn echo_server_returns_every_byte_in_order() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let mut speakers = Vec::new();
        for _ in 0..world.between(1..=3) {
            let (stream, peer) = world.pair();
            let (echo, heard) = Checked::new(program::Echo);
            let mut echo = DispatcherWithSend::over(stream, echo);
            echo.set_timeout(Some(TIMEOUT));
            if world.chance(50) {
                // So that little congests it.
                echo.set_watermarks(10, 100);
            }
            let id = event_loop.add(echo.with_backpressure())?;
            let most = 1 << world.between(0..=11);
            set_pace(world, &peer, most);
            let length = world.between(0..=most as u64) as usize;
            let speaker = Speaker::new(world, peer, pattern(0..length));
            speakers.push((speaker, heard, id));
        }
        run_checked(world, &mut event_loop, |event_loop| {
            for (speaker, heard, id) in &speakers {
                speaker.check_received(&speaker.words.borrow());
                let open = event_loop.contains(*id);
                assert_eq!(heard.closes(), u32::from(!open));
            }
        })?;
        for (speaker, heard, _) in &speakers {
            let echoed = speaker.peer.received();
            match speaker.manner {
                Manner::HalfCloses => {
                    assert_eq!(heard.ends_of_input.get(), 1);
                    assert_eq!(speaker.peer.end(), Some(End::InOrder));
                    assert_eq!(echoed.len(), speaker.words.borrow().len());
                }
                Manner::FallsSilent => {
                    assert_eq!(heard.timeouts.get(), 1);
                    assert_eq!(echoed.len(), speaker.words.borrow().len());
                }
                Manner::Closes | Manner::Resets => {}
            }
        }
        Ok(())
    })
    .unwrap();
}
