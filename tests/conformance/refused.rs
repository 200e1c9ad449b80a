//! Invalid scenarios, and invalid command lines of the runner.

use fdloop::Backend;

use super::performers::{Folder, run, runner};

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
        &["--backend", "kqueue", "x.json"],
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
