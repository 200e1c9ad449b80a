//! The handlers of `chat_server`.

#[path = "../../examples/chat_server.rs"]
#[allow(dead_code, reason = "the program around the handlers")]
mod program;

use std::time::Duration;

use crate::SEEDS;
use crate::checked::{Manner, Speaker, arrived, input_ended, run_until_left};
use fdloop::sim::{Peer, Stream, World, for_seeds};
use fdloop::{AsyncChat, ChannelId, Dispatcher, EventLoop, Result};
use program::{HELP, LINE_LIMIT, Member, Room};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The name of a member who is there first and goes last, and says nothing.
const WITNESS: &str = "witness";

type RoomId = ChannelId<Dispatcher<Room>>;

fn enter(event_loop: &mut EventLoop, room: RoomId, stream: Stream) -> Result<()> {
    let chat = AsyncChat::over(stream, Member::default());
    event_loop.with(room, |room, event_loop| {
        room.handler().open_door(event_loop, chat)
    })
}

/// The words of a member: its name and lines, the last of which may lack its end.
fn words(world: &World, nick: &str) -> String {
    let mut words = format!("{nick}\n");
    for number in 0..world.between(0..=8) {
        words += &match world.between(0..=19) {
            0 => "\n".to_owned(),
            1 => "/who\n".to_owned(),
            2 => "/nonsense\n".to_owned(),
            3 => "/quit\n".to_owned(),
            4 => "x".repeat(LINE_LIMIT + world.between(1..=100) as usize) + "\n",
            _ => format!("line {number} of {nick}\n"),
        };
    }
    if world.chance(30) {
        words += "the last words";
    }
    words
}

/// The lines of `words` that the others hear if `arrived` bytes of them come, with the end of the
/// input if that comes, too.
fn heard_of(words: &str, arrived: usize, ended: bool) -> Vec<&str> {
    let words = &words[..arrived];
    let whole = match words.rfind('\n') {
        _ if ended => words,
        Some(last) => &words[..=last],
        None => "",
    };
    let mut lines = whole.lines().skip(1);
    let mut heard = Vec::new();
    for line in lines.by_ref().take_while(|line| *line != "/quit") {
        if !line.is_empty() && !line.starts_with('/') && line.len() <= LINE_LIMIT {
            heard.push(line);
        }
    }
    heard
}

fn lines(peer: &Peer) -> Vec<String> {
    let received = String::from_utf8(peer.received()).unwrap();
    received.lines().map(str::to_owned).collect()
}

/// The replies to a member's words that the member alone gets.
const PRIVATE: [&str; 4] = ["* here are ", "* a line has up to ", "* goodbye", HELP];

fn is_private(line: &str) -> bool {
    PRIVATE.iter().any(|reply| line.starts_with(reply))
}

/// Checks what a member was told against what the witness was told meanwhile.
fn check_member(nick: &str, member: &Speaker, transcript: &[String]) {
    let told = lines(&member.peer);
    let enters = format!("* {nick} has joined");
    let Some(begin) = transcript.iter().position(|line| *line == enters) else {
        return;
    };
    let leaves = |line: &&String| {
        line.starts_with(&format!("* {nick} has left"))
            || line.starts_with(&format!("* {nick} has lost"))
            || line.starts_with(&format!("* {nick} was dropped"))
    };
    assert_eq!(
        transcript.iter().filter(leaves).count(),
        1,
        "{nick} leaves once: {transcript:#?}"
    );
    let end = transcript.iter().position(|line| leaves(&line)).unwrap();
    let own = format!("{nick}: ");
    let due: Vec<&String> = transcript[begin + 1..end]
        .iter()
        .filter(|line| !line.starts_with(&own))
        .collect();
    // The welcome, the greeting and the help come first. A line may be cut off at the end.
    let told_by_others: Vec<&String> = told
        .iter()
        .skip(3)
        .filter(|line| !is_private(line))
        .collect();
    let whole = match member.peer.received().last() {
        Some(b'\n') => told_by_others.len(),
        _ => told_by_others.len().saturating_sub(1),
    };
    let whole = whole.min(due.len());
    assert_eq!(
        told_by_others[..whole],
        due[..whole],
        "{nick} was told something else"
    );
    for rest in &told_by_others[whole..] {
        let next = due.get(whole).map_or("", |line| line.as_str());
        let possible = PRIVATE.iter().any(|reply| reply.starts_with(rest.as_str()));
        assert!(
            possible || next.starts_with(rest.as_str()),
            "{nick} was told {rest:?}"
        );
    }
    // All that others said before its own last word has come.
    if member.manner == Manner::HalfCloses {
        let last = transcript[..end]
            .iter()
            .rposition(|line| line.starts_with(&own));
        let before = transcript[begin + 1..last.unwrap_or(begin + 1).max(begin + 1)]
            .iter()
            .filter(|line| !line.starts_with(&own));
        assert!(whole >= before.count(), "{nick} was not told everything");
    }
}

#[test]
fn chat_server_tells_everybody_every_line_in_the_same_order() {
    for_seeds(SEEDS, |world| {
        let mut event_loop = world.event_loop();
        let room = Dispatcher::over(world.pair().0, Room::new(Some(TIMEOUT)));
        let room = event_loop.add_background(room)?;
        let (stream, witness) = world.pair();
        witness.set_room(1 << 16);
        witness.set_pieces(1..=1 << 16);
        enter(&mut event_loop, room, stream)?;
        witness.send(format!("{WITNESS}\n"));
        for number in 1..=20 {
            // It is not silent for too long.
            let witness = witness.clone();
            world.call_later(number * TIMEOUT / 2, move |_| witness.send("\n"));
        }
        world.run_until(&mut event_loop, |_| lines(&witness).len() == 3)?;

        let mut members = Vec::new();
        for nick in ["ann", "bob", "cyd"] {
            let (stream, peer) = world.pair();
            peer.set_room(world.between(20..=5_000) as usize);
            peer.set_pieces(1..=world.between(5..=500) as usize);
            let words = words(world, nick);
            enter(&mut event_loop, room, stream)?;
            let speaker = Speaker::new(world, peer, words.clone().into_bytes());
            members.push((nick, speaker, words));
        }
        // The witness stays until the others have gone.
        let mut left = false;
        run_until_left(world, &mut event_loop, 1, |event_loop| {
            if event_loop.len() == 2 && !left {
                left = true;
                witness.shutdown();
            }
        })?;

        let transcript = lines(&witness);
        for (nick, member, words) in &members {
            check_member(nick, member, &transcript);
            let own = format!("{nick}: ");
            let said = transcript.iter().filter_map(|line| line.strip_prefix(&own));
            let due = heard_of(
                words,
                arrived(world, &member.peer),
                input_ended(world, &member.peer),
            );
            assert_eq!(said.collect::<Vec<_>>(), due, "what {nick} said");
        }
        Ok(())
    })
    .unwrap();
}
