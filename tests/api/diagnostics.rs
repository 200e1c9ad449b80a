//! The compiler's messages for common mistakes, and the remedies that they name.
//! The compiler is run as the test is: on the machine that the crate was built on.
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::TempDir;

/// The crate as it was built last, and the directory of what it depends on.
fn library() -> (PathBuf, PathBuf) {
    let deps = env::current_exe().unwrap().parent().unwrap().to_owned();
    let is_library = |path: &Path| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("libfdloop-") && name.ends_with(".rlib")
    };
    let files = fs::read_dir(&deps)
        .unwrap()
        .map(|file| file.unwrap().path());
    let newest = files
        .filter(|path| is_library(path))
        .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    (newest.unwrap(), deps)
}

/// Returns the compiler's messages for a function with that body.
fn compiled(body: &str) -> String {
    let dir = TempDir::new();
    let source = dir.join("program.rs");
    let text = format!(
        "#![deny(unused_must_use)]\n\
         use fdloop::*;\n\
         struct Mine;\n\
         struct Handles;\n\
         impl Handler for Handles {{}}\n\
         struct Chats;\n\
         impl ChatHandler for Chats {{\n\
             fn found_terminator(&mut self, _: &mut ChatIo<'_>) -> Result<()> {{ Ok(()) }}\n\
         }}\n\
         pub fn program(event_loop: &mut EventLoop) -> Result<()> {{ {body} Ok(()) }}\n"
    );
    fs::write(&source, text).unwrap();
    let (library, deps) = library();
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata"])
        .args(["--color=never", "-A", "dead_code", "--out-dir"])
        .arg(dir.join(""))
        .arg("--extern")
        .arg(format!("fdloop={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg(&source)
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn assert_says(body: &str, expected: &[&str]) {
    let said = compiled(body);
    for words in expected {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
}

#[test]
fn a_program_that_fits_compiles() {
    let said = compiled("event_loop.add(Dispatcher::listen(\"127.0.0.1:0\", Handles)?)?;");
    assert_eq!(said, "");
}

#[test]
fn what_is_not_a_channel_is_to_be_wrapped() {
    let expected = [
        "`Handles` is not a channel",
        "Dispatcher::new(socket, handler)",
    ];
    assert_says("event_loop.add(Handles)?;", &expected);
}

#[test]
fn a_file_is_not_a_socket() {
    let expected = ["is not a socket", "FileDispatcher::new(file, handler)"];
    assert_says(
        "event_loop.add(Dispatcher::new(std::io::stdin(), Handles)?)?;",
        &expected,
    );
}

#[test]
fn a_type_that_handles_nothing_is_not_a_handler() {
    assert_says(
        "event_loop.add(Dispatcher::listen(\"127.0.0.1:0\", Mine)?)?;",
        &["`Mine` is not a handler", "impl Handler for Mine {}"],
    );
    assert_says(
        "event_loop.add(Dispatcher::listen(\"127.0.0.1:0\", Chats)?)?;",
        &["`Chats` is not a handler", "AsyncChat"],
    );
    assert_says(
        "event_loop.add(AsyncChat::listen(\"127.0.0.1:0\", Handles)?)?;",
        &["`Handles` is not a handler for a chat", "found_terminator"],
    );
}

#[test]
fn a_file_is_not_a_transport() {
    assert_says(
        "event_loop.add(Dispatcher::over(std::io::stdin(), Handles))?;",
        &["is not a transport", "FileWrapper"],
    );
}

#[test]
fn a_channel_that_is_added_to_no_loop_is_warned_about() {
    let expected = ["must be used", "event_loop.add(channel)"];
    for channel in [
        "Dispatcher::listen(\"127.0.0.1:0\", Handles)?;",
        "Dispatcher::connect(\"127.0.0.1:80\", Handles)?;",
        "DispatcherWithSend::connect(\"127.0.0.1:80\", Handles)?;",
        "FileDispatcher::new(std::io::stdin(), Handles)?;",
        "AsyncChat::connect(\"127.0.0.1:80\", Chats)?;",
    ] {
        assert_says(channel, &expected);
    }
}
