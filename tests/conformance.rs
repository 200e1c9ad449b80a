//! The crate performs scenarios as asyncore does: those in `tests/scenarios`, whose
//! answers stand beside them, and random ones, compared with the reference itself
//! where that can be had.
//!
//! The reference needs a `python3` that still has asyncore and asynchat (3.11 and
//! before, or the packages pyasyncore and pyasynchat), and `oracle.py`, in
//! `../shared/conformance` or where the environment says:
//!
//! - `FDLOOP_ORACLE`: the path of `oracle.py`; if empty, tests do without it;
//! - `FDLOOP_SEED`: the seed of the first random scenario;
//! - `FDLOOP_SCENARIOS`: how many random scenarios there are;
//! - `FDLOOP_RECORD`: if set, the reference's answers are written beside the
//!   scenarios instead of being compared with what stands there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

#[path = "conformance/generator.rs"]
mod generator;
#[path = "conformance/performers.rs"]
mod performers;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use fdloop::Backend;
use serde_json::Value;

use performers::{Folder, Performed, Performer, beside_the_repository, perform_all, run, runner};

const SEED: u64 = 20_240_611;
const SCENARIOS: u64 = 220;

// --- what is recorded ------------------------------------------------------------

/// The scenarios in a folder.
fn scenarios_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter(|path| !path.to_string_lossy().ends_with(".trace.json"))
        .collect();
    files.sort();
    files
}

fn recorded_scenarios() -> Vec<PathBuf> {
    let files = scenarios_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios"));
    assert!(files.len() >= 40, "{} scenarios", files.len());
    files
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the crate's backends answer to each scenario must be what is `expected`.
#[track_caller]
fn assert_performed(
    files: &[PathBuf],
    performers: &[Performer],
    expected: impl Fn(usize) -> Performed,
) {
    let performers: Vec<_> = performers.iter().collect();
    let answers = perform_all(files, &performers);
    let mut failures = String::new();
    for (index, answers) in answers.iter().enumerate() {
        let expected = expected(index);
        for (performer, answer) in performers.iter().zip(answers) {
            if *answer != expected {
                let scenario = files[index].display();
                let name = &performer.name;
                writeln!(failures, "{scenario}").unwrap();
                writeln!(failures, "  {name}: {}", shown(answer)).unwrap();
                writeln!(failures, "  expected: {}", shown(&expected)).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn shown(performed: &Performed) -> String {
    match performed {
        Ok(value) => value["trace"].to_string(),
        Err(error) => error.clone(),
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "recorded on Linux")]
fn every_recorded_scenario_is_performed_as_recorded() {
    let files = recorded_scenarios();
    let recorded = |index: usize| Ok(read_json(&files[index].with_extension("trace.json")));
    assert_performed(&files, &Performer::all_of_the_crate(), recorded);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "recorded on Linux")]
fn what_is_recorded_is_what_the_reference_answers() {
    let Some(reference) = Performer::all_of_the_reference() else {
        eprintln!("skipped: without the reference, the recorded answers cannot be checked");
        return;
    };
    let files = recorded_scenarios();
    if std::env::var_os("FDLOOP_RECORD").is_some() {
        for (file, answers) in files.iter().zip(perform_all(&files, &[&reference[0]])) {
            let answer = answers[0]
                .as_ref()
                .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            fs::write(file.with_extension("trace.json"), format!("{answer}\n")).unwrap();
        }
    }
    let recorded = |index: usize| Ok(read_json(&files[index].with_extension("trace.json")));
    assert_performed(&files, &reference, recorded);
}

#[test]
fn the_samples_of_the_kit_are_performed_as_by_the_reference() {
    let (Some(folder), Some(reference)) = (
        beside_the_repository("scenarios"),
        Performer::all_of_the_reference(),
    ) else {
        eprintln!("skipped: the kit's samples, since the kit or the reference is not there");
        return;
    };
    let files = scenarios_in(&folder);
    let mut answers = perform_all(&files, &[&reference[0]]);
    let answers: Vec<_> = answers
        .iter_mut()
        .map(|answers| answers.remove(0))
        .collect();
    let expected = |index: usize| answers[index].clone();
    assert_performed(&files, &reference[1..], expected);
    assert_performed(&files, &Performer::all_of_the_crate(), expected);
}

/// Gathers the names that a scenario uses: every key, and with it what stands
/// there, such as `kind:chat`, `on_read:recv`, `terminator:number`.
fn gather_names(value: &Value, names: &mut BTreeSet<String>) {
    if let Some(items) = value.as_array() {
        for item in items {
            gather_names(item, names);
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let what = match value {
            Value::Null => "null",
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Number(_) => "number",
            Value::String(text) => text,
            Value::Array(_) => "list",
            Value::Object(object) => object.keys().next().map_or("", String::as_str),
        };
        names.insert(key.clone());
        names.insert(format!("{key}:{what}"));
        gather_names(value, names);
    }
}

#[test]
fn the_recorded_scenarios_use_everything_the_format_has() {
    let mut names = BTreeSet::new();
    for file in recorded_scenarios() {
        let scenario = read_json(&file);
        assert_eq!(
            scenario["name"].as_str(),
            file.file_stem().unwrap().to_str()
        );
        gather_names(&scenario, &mut names);
    }
    let steps = "run listen refusing connect accept serve dial adopt file regular_file send oob \
                 shutdown close reset receive call state";
    let keys = "passes backlog child send push produce behave at_start script terminator \
                repeat times action:close action:close_when_done action:discard_buffers \
                family:inet family:inet6 family:unix kind:dispatcher kind:with_send kind:chat \
                mode:r mode:w readable:true readable:false writable:true writable:false \
                terminator:number terminator:null set_terminator:number set_terminator:null";
    let reactions = "nothing default close raise exit send";
    let events = "connect accept read write expt error close";
    let mut wanted: BTreeSet<String> = keys.split_whitespace().map(str::to_owned).collect();
    wanted.extend(steps.split_whitespace().map(|step| format!("do:{step}")));
    for event in events.split(' ') {
        wanted.extend(
            reactions
                .split(' ')
                .map(|what| format!("on_{event}:{what}")),
        );
    }
    let also = "on_read:recv on_read:echo on_read:oob on_expt:oob on_expt:recv on_error:recv \
                on_error:echo";
    wanted.extend(also.split_whitespace().map(str::to_owned));
    // A listener has nothing to send on, and what fails in `handle_error` itself
    // ends the reference.
    for impossible in ["on_accept:send", "on_error:raise"] {
        wanted.remove(impossible);
    }
    let missing: Vec<_> = wanted.difference(&names).collect();
    assert!(missing.is_empty(), "no scenario has {missing:?}");
}

// --- random scenarios ----------------------------------------------------------------

fn number_from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|e| panic!("{name}: {e}: {text}")),
        Err(_) => default,
    }
}

/// Random scenarios, in files.
struct Randoms {
    /// Where the files are, for as long as they are needed.
    _folder: Folder,
    seeds: Vec<u64>,
    scenarios: Vec<Value>,
    files: Vec<PathBuf>,
}

impl Randoms {
    fn new(seeds: impl Iterator<Item = u64>) -> Self {
        let folder = Folder::new();
        let seeds: Vec<_> = seeds.collect();
        let scenarios: Vec<_> = seeds.iter().copied().map(generator::scenario).collect();
        let files = seeds
            .iter()
            .zip(&scenarios)
            .map(|(seed, scenario)| folder.write(&format!("{seed}.json"), &scenario.to_string()))
            .collect();
        Self {
            _folder: folder,
            seeds,
            scenarios,
            files,
        }
    }

    /// What to say of one that failed.
    fn report(&self, index: usize, performers: &[&Performer], answers: &[Performed]) -> String {
        let mut report = format!("seed {}: {}\n", self.seeds[index], self.scenarios[index]);
        for (performer, answer) in performers.iter().zip(answers) {
            writeln!(report, "  {}: {}", performer.name, shown(answer)).unwrap();
        }
        report
    }
}

#[test]
fn random_scenarios_are_performed_as_by_the_reference() {
    let crates = Performer::all_of_the_crate();
    let Some(reference) = Performer::all_of_the_reference() else {
        eprintln!("skipped: without the reference, the backends are compared with each other");
        compare_backends(&crates);
        return;
    };
    let wanted = number_from_environment("FDLOOP_SCENARIOS", SCENARIOS);
    let mut seed = number_from_environment("FDLOOP_SEED", SEED);
    let performers: Vec<_> = reference.iter().chain(&crates).collect();
    let (mut compared, mut ambiguous) = (0, 0);
    let mut failures = Vec::new();
    while compared < wanted {
        let more = (wanted - compared).min(240);
        let randoms = Randoms::new(seed..seed + more);
        seed += more;
        let answers = perform_all(&randoms.files, &performers);
        for (index, answers) in answers.iter().enumerate() {
            let (expected, crates) = answers.split_at(reference.len());
            if expected[0] != expected[1] {
                // asyncore itself answers differently under select and poll.
                ambiguous += 1;
                continue;
            }
            compared += 1;
            let fails = expected[0].is_err() || crates.iter().any(|it| *it != expected[0]);
            if fails && is_certain(&randoms, index, &reference, &expected[0]) {
                failures.push(randoms.report(index, &performers, answers));
            }
        }
        assert!(
            failures.is_empty(),
            "{} of {compared} random scenarios are performed otherwise than by the reference \
             (FDLOOP_SEED=... FDLOOP_SCENARIOS=1 performs one of them again):\n{}",
            failures.len(),
            failures[..failures.len().min(4)].join("\n")
        );
        // A generator that mostly makes what nobody can judge tests nothing.
        assert!(
            ambiguous <= compared / 2 + 1,
            "{ambiguous} ambiguous, {compared} not"
        );
    }
    eprintln!("{compared} random scenarios compared, {ambiguous} passed over as ambiguous");
}

/// Whether the reference answers the same again and again, so that the answer does
/// not depend on how busy the machine is.
fn is_certain(
    randoms: &Randoms,
    index: usize,
    reference: &[Performer],
    expected: &Performed,
) -> bool {
    let performers: Vec<_> = reference.iter().chain(reference).collect();
    let file = std::slice::from_ref(&randoms.files[index]);
    perform_all(file, &performers)[0]
        .iter()
        .all(|answer| answer == expected)
}

/// The next best, without the reference: all backends answer the same.
fn compare_backends(crates: &[Performer]) {
    let seed = number_from_environment("FDLOOP_SEED", SEED);
    let count = number_from_environment("FDLOOP_SCENARIOS", SCENARIOS);
    let randoms = Randoms::new(seed..seed + count);
    let performers: Vec<_> = crates.iter().collect();
    let answers = perform_all(&randoms.files, &performers);
    for (index, answers) in answers.iter().enumerate() {
        let agree = answers
            .iter()
            .all(|answer| answer.is_ok() && *answer == answers[0]);
        assert!(agree, "{}", randoms.report(index, &performers, answers));
    }
}

#[test]
fn a_seed_always_makes_the_same_scenario() {
    for seed in 0..50 {
        assert_eq!(generator::scenario(seed), generator::scenario(seed));
    }
    assert_ne!(generator::scenario(1), generator::scenario(2));
}

// --- what is no scenario -----------------------------------------------------------

/// The runner on a file with `text` in it: it must refuse, and name the file and
/// each of `named`.
#[track_caller]
fn assert_refused(text: &str, named: &[&str]) {
    let folder = Folder::new();
    let file = folder.write("ill-formed.json", text);
    let runner = [runner().display().to_string()];
    let ended = run(&runner, &[&file], &folder.0);
    assert_eq!(ended.code, Some(2), "{text}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{text}");
    let file = file.display().to_string();
    for named in named.iter().copied().chain([file.as_str()]) {
        assert!(
            ended.stderr.contains(named),
            "{text}: {named} is not in: {}",
            ended.stderr
        );
    }
}

#[test]
fn ill_formed_scenarios_are_refused_with_the_file_and_the_key() {
    let refused = [
        ("not json", vec!["line 1"]),
        ("[]", vec!["object"]),
        (r#"{"steps": []}"#, vec!["name"]),
        (r#"{"name": "x"}"#, vec!["steps"]),
        (r#"{"name": 1, "steps": []}"#, vec!["key name", "text"]),
        (r#"{"name": "x", "steps": {}}"#, vec!["key steps", "list"]),
        (
            r#"{"name": "x", "family": "ipx", "steps": []}"#,
            vec!["key family", "ipx"],
        ),
        (
            r#"{"name": "x", "channels": [], "steps": []}"#,
            vec!["key channels"],
        ),
    ];
    for (text, named) in refused {
        assert_refused(text, &named);
    }
    let behaviours = [
        (r#"{"kind": "telepathy"}"#, "channels.c.kind"),
        (r#"{"readable": "yes"}"#, "channels.c.readable"),
        (r#"{"writable": 1}"#, "channels.c.writable"),
        (r#"{"on_read": "sleep"}"#, "channels.c.on_read"),
        (r#"{"on_read": {"recv": -1}}"#, "channels.c.on_read.recv"),
        (r#"{"on_write": {"send": 7}}"#, "channels.c.on_write.send"),
        (r#"{"on_error": {}}"#, "channels.c.on_error"),
        (r#"{"terminator": -4}"#, "channels.c.terminator"),
        (r#"{"terminator": true}"#, "channels.c.terminator"),
        (r#"{"terminator": "€"}"#, "channels.c.terminator"),
        (r#"{"script": ["close"]}"#, "channels.c.script[0]"),
        (
            r#"{"script": [["close", "stop"]]}"#,
            "channels.c.script[0][1]",
        ),
        (
            r#"{"at_start": [{"push": {"repeat": "x"}}]}"#,
            "channels.c.at_start[0].push.times",
        ),
        (
            r#"{"child": {"child": {"kind": 1}}}"#,
            "channels.c.child.child.kind",
        ),
    ];
    for (behaviour, key) in behaviours {
        let text = format!(r#"{{"name": "x", "channels": {{"c": {behaviour}}}, "steps": []}}"#);
        assert_refused(&text, &[key]);
    }
    let steps = [
        (r#"{"peer": "p"}"#, "steps[1].do"),
        (r#"{"do": "dance"}"#, "steps[1].do"),
        (r#"{"do": "run", "passes": "many"}"#, "steps[1].passes"),
        (r#"{"do": "send", "peer": "p"}"#, "steps[1].data"),
        (r#"{"do": "send", "data": "x"}"#, "steps[1].peer"),
        (
            r#"{"do": "file", "channel": "c", "peer": "p", "mode": "x"}"#,
            "steps[1].mode",
        ),
        (
            r#"{"do": "serve", "channel": "c", "backlog": []}"#,
            "steps[1].backlog",
        ),
        (r#"{"do": "call", "channel": "c"}"#, "steps[1].action"),
        (
            r#"{"do": "call", "channel": "c", "action": {"jump": 1}}"#,
            "steps[1].action",
        ),
        (
            r#"{"do": "call", "channel": "c", "action": {"behave": {"kind": 0}}}"#,
            "steps[1].action.behave.kind",
        ),
        // What only shows when it is performed.
        (r#"{"do": "state", "channel": "nobody"}"#, "steps[1]"),
        (
            r#"{"do": "call", "channel": "nobody", "action": "close"}"#,
            "nobody",
        ),
        (r#"{"do": "receive", "peer": "nobody"}"#, "nobody"),
        (
            r#"{"do": "dial", "peer": "p", "channel": "nobody"}"#,
            "nobody",
        ),
    ];
    for (step, key) in steps {
        let text = format!(r#"{{"name": "x", "steps": [{{"do": "run"}}, {step}]}}"#);
        assert_refused(&text, &[key]);
    }
}

#[test]
fn wrong_command_lines_are_refused_with_the_usage() {
    let folder = Folder::new();
    let runner = [runner().display().to_string()];
    for args in [
        &[][..],
        &["--backend"],
        &["--backend", "epoll", "x.json"],
        &["--verbose"],
    ] {
        let ended = run(&runner, args, &folder.0);
        assert_eq!(ended.code, Some(2), "{args:?}");
        assert!(
            ended.stderr.contains("usage: "),
            "{args:?}: {}",
            ended.stderr
        );
    }
    let ended = run(&runner, &["no-such-file.json"], &folder.0);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("no-such-file.json"),
        "{}",
        ended.stderr
    );
}

#[test]
fn every_scenario_of_several_has_a_line_up_to_the_one_that_fails() {
    let folder = Folder::new();
    let files = [
        folder.write(
            "first.json",
            r#"{"name": "first", "steps": [{"do": "run"}]}"#,
        ),
        folder.write("second.json", r#"{"name": "second", "steps": []}"#),
        folder.write("third.json", r#"{"name": 3, "steps": []}"#),
        folder.write("fourth.json", r#"{"name": "fourth", "steps": []}"#),
    ];
    for backend in Backend::ALL {
        let runner = [
            runner().display().to_string(),
            "--backend".into(),
            backend.to_string(),
        ];
        let ended = run(&runner, &files, &folder.0);
        assert_eq!(ended.code, Some(2));
        assert_eq!(
            ended.stdout,
            "{\"scenario\":\"first\",\"trace\":{}}\n{\"scenario\":\"second\",\"trace\":{}}\n"
        );
        assert!(ended.stderr.contains("third.json"), "{}", ended.stderr);
    }
}
