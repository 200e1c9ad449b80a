//! The file that the body is written to, or stdout.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process;

use crate::common::{self, Failure};

/// The destination of the body.
pub enum Target {
    Stdout,
    /// A device, a FIFO or the like.
    Directly(File),
    /// A file that gets its name when it is whole.
    Beside {
        file: File,
        written: Temporary,
        path: PathBuf,
    },
}

/// A file that is removed unless it was given its name.
pub struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // An error means that it is gone already.
            let _ = fs::remove_file(path);
        }
    }
}

impl Target {
    pub fn file(named: &Path) -> Result<Self, Failure> {
        // Named as the user named it, not as the hidden file is.
        let failed = |error: io::Error| {
            Failure::operation(format!("cannot write {}: {error}", named.display()))
        };
        // A link stays one: the file that it names is replaced.
        let path = fs::canonicalize(named).unwrap_or_else(|_| named.to_owned());
        if fs::metadata(&path).is_ok_and(|is| !is.is_file()) {
            let file = OpenOptions::new().write(true).open(&path);
            return file.map(Self::Directly).map_err(failed);
        }
        let Some(name) = path.file_name() else {
            let message = format!("-o: {:?} is not the name of a file", path.display());
            return Err(Failure::usage(message));
        };
        let beside = format!(".{}.{}.part", common::shown(name), process::id());
        let beside = path.with_file_name(beside);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&beside);
        Ok(Self::Beside {
            file: file.map_err(failed)?,
            written: Temporary(Some(beside)),
            path,
        })
    }

    /// Checks whether the body is shown on a terminal.
    pub fn shows_body(&self) -> bool {
        matches!(self, Self::Stdout) && io::stdout().is_terminal()
    }

    /// Gives the file its name: the body is whole.
    pub fn complete(self) -> Result<(), Failure> {
        let Self::Beside {
            mut written, path, ..
        } = self
        else {
            return Ok(());
        };
        let Some(beside) = &written.0 else {
            return Ok(());
        };
        fs::rename(beside, &path).map_err(|error| {
            Failure::operation(format!("cannot write {}: {error}", path.display()))
        })?;
        written.0 = None;
        Ok(())
    }
}
