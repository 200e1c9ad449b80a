//! Playing a recording.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader};
use std::time::{Duration, Instant};

use fdloop::{Backend, ChannelId, Error, EventLoop, FileDispatcher, Handler, Io, Result, StateId};

use crate::common::{self, Failure};
use crate::parse::{Event, Events};

/// The longest pause, of 136 years.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// The rest of a recording.
struct Player {
    events: Events<BufReader<File>>,
    next: Option<Event>,
    /// The time of the next event in the recording.
    time: Duration,
    /// The time at which the event is due.
    due: Instant,
    speed: f64,
    idle_limit: Option<Duration>,
    screen: ChannelId<FileDispatcher<Screen>>,
}

impl Player {
    /// Reads the next event, and computes when it is due.
    fn advance(&mut self) -> Result<()> {
        let event = self.events.next(self.time).map_err(Error::fatal)?;
        self.next = event.map(|(time, event)| {
            let pause = time.saturating_sub(self.time);
            let pause = self.idle_limit.map_or(pause, |limit| pause.min(limit));
            let pause = Duration::try_from_secs_f64(pause.as_secs_f64() / self.speed);
            // A recording may have any time, and the clock ends somewhere.
            self.due += pause.unwrap_or(LONGEST).min(LONGEST);
            self.time = time;
            event
        });
        Ok(())
    }
}

/// The screen.
struct Screen {
    player: Option<StateId<Player>>,
}

impl Handler for Screen {
    fn handle_drain(&mut self, io: &mut Io<'_>) -> Result<()> {
        let player = self.player;
        // Called after this handler has returned, when the screen can be reached.
        io.event_loop()
            .call_later(Duration::ZERO, move |event_loop| {
                player.map_or(Ok(()), |player| show(event_loop, player))
            });
        Ok(())
    }

    fn handle_close(&mut self, io: &mut Io<'_>) -> Result<()> {
        io.event_loop().stop();
        Ok(())
    }
}

/// Shows the events that are due, and sets a timer for the next one.
fn show(event_loop: &mut EventLoop, id: StateId<Player>) -> Result<()> {
    loop {
        let Some(player) = event_loop.state_mut(id) else {
            return Ok(());
        };
        let (screen, due) = (player.screen, player.due);
        let Some(event) = player.next.take_if(|_| due <= Instant::now()) else {
            let is_over = player.next.is_none();
            match event_loop.get_mut(screen) {
                Some(screen) if is_over => screen.close_when_done(),
                _ => drop(event_loop.call_at(due, move |event_loop| show(event_loop, id))),
            }
            return Ok(());
        };
        player.advance()?;
        let Some(screen) = event_loop.get_mut(screen) else {
            return Ok(());
        };
        if event.code == "o" {
            // This may be called by a timer, whose error alone would not end the loop.
            screen.send(event.data.as_bytes()).map_err(Error::fatal)?;
        }
        if screen.is_congested() {
            return Ok(());
        }
    }
}

/// Shows a recording in the time that it took, or faster.
pub fn play(
    backend: Backend,
    recording: &OsStr,
    speed: f64,
    idle_limit: Option<f64>,
) -> Result<(), Failure> {
    let name = common::shown(recording);
    let file = File::open(recording)
        .map_err(|error| Failure::operation(format!("cannot open {name}: {error}")))?;
    let events = Events::new(BufReader::new(file))
        .map_err(|error| Failure::input(format!("{name}: {error}")))?;
    let mut event_loop = EventLoop::with_backend(backend)?;
    event_loop.stop_on(common::STOPPING)?;
    let screen = FileDispatcher::writer(io::stdout(), Screen { player: None })?;
    let screen = event_loop.add(screen)?;
    let mut player = Player {
        events,
        next: None,
        time: Duration::ZERO,
        due: Instant::now(),
        speed,
        idle_limit: idle_limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok()),
        screen,
    };
    let shown = player.advance().and_then(|()| {
        let player = event_loop.keep(player);
        if let Some(screen) = event_loop.get_mut(screen) {
            screen.handler_mut().player = Some(player);
        }
        show(&mut event_loop, player)?;
        event_loop.run()
    });
    shown.map_err(|error| match error.fd() {
        // The error of the screen.
        Some(_) => error.into(),
        None => Failure::input(format!("{name}: {error}")),
    })
}
