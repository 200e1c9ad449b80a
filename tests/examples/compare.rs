//! The example `compare`, run as a program.

use std::fs;
use std::process::Command;

use crate::common::TempDir;
use crate::common::programs::{Ended, Program, example};
use fdloop::Backend;

fn compare(arguments: &[&str]) -> Ended {
    let mut command = Command::new(example("compare"));
    command.args(arguments);
    Program::start("compare", command).finish()
}

#[test]
fn it_prints_a_row_for_each_number_and_draws_the_same() {
    let directory = TempDir::new();
    let svg = directory.file("plot.svg");
    let ended = compare(&["--fds=8,70", "--active", "2", "--svg", &svg]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let table = String::from_utf8(ended.stdout).unwrap();
    let mut lines = table.lines();
    let built_in: Vec<_> = Backend::ALL.iter().map(Backend::to_string).collect();
    let says = lines.next().unwrap();
    assert!(says.contains(&built_in.join(", ")), "{says}");
    for fds in ["8", "70"] {
        let row = lines.find(|line| line.split_whitespace().next() == Some(fds));
        let figures: Vec<f64> = row
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(|figure| figure.parse().unwrap())
            .collect();
        assert_eq!(figures.len(), Backend::ALL.len(), "{table}");
        assert!(figures.iter().all(|figure| *figure > 0.0), "{table}");
    }
    assert!(
        table.ends_with(&format!("\nThe plot is in {svg}\n")),
        "{table}"
    );
    let plot = fs::read_to_string(svg).unwrap();
    assert!(plot.starts_with("<svg"), "{plot}");
    for backend in built_in {
        assert!(plot.contains(&backend), "no line for {backend}");
    }
    // A scale of one tick would tell nothing, however close the figures are.
    let ticks: Vec<&str> = plot.lines().filter(|line| line.ends_with(" ns")).collect();
    assert!(ticks.len() >= 2, "{ticks:?}");
    for tick in ticks {
        let leading = tick.trim().trim_end_matches(" ns").trim_end_matches('0');
        assert!(["1", "2", "5"].contains(&leading), "{tick}");
    }
}

#[test]
fn a_plot_that_cannot_be_written_is_said_before_anything_is_measured() {
    let directory = TempDir::new();
    let svg = directory.file("no such directory/plot.svg");
    let ended = compare(&["--svg", &svg]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = format!("compare: cannot write {svg}: No such file or directory");
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
    assert_eq!(ended.stdout, b"", "{ended:?}");
}

#[test]
fn nonsense_is_refused_with_the_reason() {
    for (arguments, code, said) in [
        (&["--fds", "ten"][..], 2, "ten"),
        (&["--fds", "10", "--active", "11"], 2, "only 10"),
        (&["--fds", "0"], 2, "--fds: \"0\" is not a number from 1 up"),
        (
            &["--active", "0"],
            2,
            "--active: \"0\" is not a number from",
        ),
        (&["--active", "99999999"], 2, "--fds"),
        (&["surplus"], 2, "surplus"),
        (
            &["--fds", "99999999"],
            1,
            "--fds 99999999: so many descriptors",
        ),
        (&["--fds", "99999999"], 1, "`ulimit -n`"),
    ] {
        let ended = compare(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{arguments:?}: {ended:?}");
    }
}
