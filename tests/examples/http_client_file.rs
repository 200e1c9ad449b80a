//! The message of the example `http_client` for a file that it cannot write.

use std::process::Command;

use crate::common::TempDir;
use crate::common::programs::{Program, example};

#[test]
fn a_file_that_cannot_be_made_is_named_as_the_user_named_it() {
    let directory = TempDir::new();
    let file = directory.file("nonexistent/../nonexistent/x");
    let mut command = Command::new(example("http_client"));
    command.args(["http://127.0.0.1:1/", "-o", &file]);
    let ended = Program::start("http_client", command).finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = format!("http_client: cannot write {file}: No such file or directory");
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
}
