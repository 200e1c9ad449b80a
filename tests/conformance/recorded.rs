//! The scenarios in `scenarios/`, whose traces are beside them, and those of a directory
//! that the environment names.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::performers::{Performed, Performer, perform_all};
use super::{notice, shown};

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
    let files =
        scenarios_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/scenarios"));
    assert!(files.len() >= 40, "{} scenarios", files.len());
    files
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Checks that the backends perform each scenario as `expected`.
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
fn the_scenarios_of_a_given_directory_are_performed_as_by_the_reference() {
    let Some(directory) = std::env::var_os("FDLOOP_SCENARIO_DIR") else {
        return;
    };
    let directory = Path::new(&directory);
    let files = scenarios_in(directory);
    assert!(!files.is_empty(), "{} has no *.json", directory.display());
    let Some(reference) = Performer::all_of_the_reference() else {
        let recorded = |index: usize| Ok(read_json(&files[index].with_extension("trace.json")));
        assert_performed(&files, &Performer::all_of_the_crate(), recorded);
        return;
    };
    let mut answers = perform_all(&files, &[&reference[0]]);
    let answers: Vec<_> = answers
        .iter_mut()
        .map(|answers| answers.remove(0))
        .collect();
    // A failure of the reference is not a result to agree on.
    for (file, answer) in files.iter().zip(&answers) {
        assert!(answer.is_ok(), "{}: {}", file.display(), shown(answer));
    }
    let expected = |index: usize| answers[index].clone();
    assert_performed(&files, &reference[1..], expected);
    assert_performed(&files, &Performer::all_of_the_crate(), expected);
    notice(&format!(
        "{} scenarios of {} compared with asyncore",
        files.len(),
        directory.display()
    ));
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
