//! Measures fdloop beside hand-written loops and other event loops; see README.md.

mod between;
mod calls;
mod chat;
mod contest;
mod coroutines;
mod cost;
mod echo;
mod effort;
mod forward;
mod idle;
mod instructions;
mod late;
mod machine;
mod mail;
mod memory;
mod orders;
mod peers;
mod plots;
mod program;
mod proxies;
mod remote;
mod report;
mod ring;
mod timers;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use contest::Contest;
use effort::Effort;
use report::{Goal, Report};

const USAGE: &str = "\
usage: cargo run --release -- COMMAND

  all            everything, about 17 minutes; writes results/
  short          everything, within a minute, for a first look; writes results/short/

and each part of it, as in `all` (with `--short` after it, as in `short`):
  ring           nanoseconds per event of a ring of socket pairs
  echo           requests per second of an echo server
  chat           lines per second of AsyncChat, beside Python's asynchat
  forward        bytes per second through the example port_forward, beside socat
  memory         bytes of user space per idle connection
  idle           100,000 idle connections on one loop (not in `all`)
  proxies        the example port_forward beside haproxy, nginx and socat (not in `all`)
  late           the delay of an idle descriptor's event beside busy ones (not in `all`)
  between        nanoseconds of user space between system calls (not in `all`)
  orders         the ring of 400 over many orders of the code (not in `all`)
  mail           the example smtp_sink beside postfix's smtp-sink (not in `all`)
  calls          system calls per event (needs strace)
  instructions   user-space instructions per event (needs valgrind)
  timers         nanoseconds for a timer, beside other loops
  remote         calls from another thread, beside tokio's channel and mio's waker
  coroutines     the same echo as channels and as coroutines, beside other runtimes
  plots          draws what was measured last";

/// The measurement of a command.
type Part = fn(&Contest, &Effort) -> Result<Report, Box<dyn Error>>;

const PARTS: &[(&str, Part)] = &[
    ("ring", ring::compare::run),
    ("echo", echo::run),
    ("chat", chat::run),
    ("forward", forward::run),
    ("memory", memory::run),
    ("calls", calls::run),
    ("instructions", instructions::run),
    ("timers", timers::run),
    ("remote", remote::run),
    ("coroutines", coroutines::run),
];

/// The parts that `all` leaves out: they need more descriptors than a process usually may have, or
/// programs that are seldom installed, or say nothing about other loops.
const APART: &[(&str, Part)] = &[
    ("idle", idle::run),
    ("late", late::run),
    ("between", between::run),
    ("orders", orders::run),
    ("proxies", proxies::run),
    ("mail", mail::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match command(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fdloop-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command(words: &[&str]) -> Result<ExitCode, Box<dyn Error>> {
    machine::raise_descriptor_limit();
    match words {
        // Commands that this program starts itself, in processes of their own.
        ["list-peers"] => contest::list(),
        ["ring-turn", rest @ ..] => ring::turn::main(rest)?,
        ["serve-echo", name] => echo::serve(name)?,
        ["serve-chat"] => chat::serve()?,
        ["serve-recv", length] => chat::serve_recv(length.parse()?)?,
        ["plots"] => plots::draw(&report::directory(false))?,
        ["all"] => return measure(PARTS, &Effort::full()),
        ["short"] => return measure(PARTS, &Effort::short()),
        [name, rest @ ..] => {
            let part: Vec<_> = PARTS
                .iter()
                .chain(APART)
                .filter(|part| part.0 == *name)
                .copied()
                .collect();
            let effort = match rest {
                [] => Effort::full(),
                ["--short"] => Effort::short(),
                _ => return Ok(usage()),
            };
            if part.is_empty() {
                return Ok(usage());
            }
            return measure(&part, &effort);
        }
        [] => return Ok(usage()),
    }
    Ok(ExitCode::SUCCESS)
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// Measures some parts, and prints, writes and draws what comes of them.
fn measure(parts: &[(&str, Part)], effort: &Effort) -> Result<ExitCode, Box<dyn Error>> {
    let begin = Instant::now();
    let contest = Contest::prepare()?;
    let directory = report::directory(effort.short);
    let about = machine::describe(&contest.missing);
    println!("{}", about.to_markdown());
    let mut reports = Vec::new();
    for (name, part) in parts {
        let start = Instant::now();
        eprintln!("{name} …");
        match part(&contest, effort) {
            Ok(report) => {
                println!("{}", report.to_markdown());
                report.save(&directory, &about)?;
                reports.push(report);
            }
            // The other parts can be measured all the same.
            Err(error) => println!("## {name}\n\nLeft out: {error}\n"),
        }
        eprintln!("{name}: {} s", start.elapsed().as_secs());
    }
    let goals = reports.iter().flat_map(|report| &report.goals);
    println!("{}", report::goals_to_markdown(goals.map(Goal::to_json)));
    let recorded: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
    report::save_all(&directory, &about, &recorded)?;
    if !effort.short {
        report::save_to_readme(&directory)?;
    }
    plots::draw(&directory)?;
    eprintln!(
        "{} s in all; see {}",
        begin.elapsed().as_secs(),
        directory.display()
    );
    Ok(ExitCode::SUCCESS)
}
