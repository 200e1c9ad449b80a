//! The example `conformance` as a program of its own: its arguments, and who reads
//! what it prints.

use std::path::Path;
use std::process::Command;

use crate::common::programs::{Ended, Program, example, with_each_backend};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(example("conformance"));
    command.args(arguments);
    command
}

fn conformance(arguments: &[&str]) -> Ended {
    Program::start("conformance", command(arguments)).finish()
}

/// One of the recorded scenarios, or its trace.
fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/scenarios");
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn the_backend_may_be_left_out_and_joined_to_its_option() {
    let scenario = recorded("two-servers.json");
    let expected = conformance(&[&scenario]);
    assert_eq!(expected.code, Some(0), "{expected:?}");
    assert_eq!(expected.stderr, "");
    with_each_backend(|backend| {
        let joined = format!("--backend={backend}");
        let name = backend.to_string();
        for arguments in [
            &[joined.as_str(), &scenario][..],
            &[&scenario, &joined],
            &["--backend", &name, &scenario],
        ] {
            let ended = conformance(arguments);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert_eq!(ended.stdout, expected.stdout);
        }
    });
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_the_usage() {
    let refused = "conformance: SCENARIO.json is missing\nusage: conformance [--backend ";
    let ended = conformance(&[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.starts_with(refused), "{ended:?}");
    for (arguments, said) in [
        (&["--unknown", "x.json"][..], "--unknown"),
        (&["--backend=kqueue", "x.json"], "kqueue"),
    ] {
        let ended = conformance(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("\nusage: "), "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
}

#[test]
fn a_trace_is_not_taken_for_a_scenario() {
    let trace = recorded("two-servers.trace.json");
    let ended = conformance(&[&trace]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let said = format!("conformance: {trace}: key steps is missing: this is the trace of a");
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
    assert!(!ended.stderr.contains("usage: "), "{ended:?}");
}

#[test]
fn it_ends_in_order_when_its_output_is_not_read() {
    let scenario = recorded("two-servers.json");
    let mut program = Program::start("conformance", command(&[&scenario, &scenario]));
    program.close_stdout();
    let ended = program.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "conformance: cannot write to stdout: ";
    assert!(ended.stderr.starts_with(said), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}
