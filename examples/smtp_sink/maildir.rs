//! A directory of complete messages: each is written in `tmp` and then moved to `new`.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// See <https://cr.yp.to/proto/maildir.html>.
pub struct Maildir {
    path: PathBuf,
    /// The number of drafts so far.
    drafts: u64,
    /// Distinguishes this program from earlier ones with its process number.
    random: u64,
}

impl Maildir {
    /// Opens a maildir, and creates it if it does not exist.
    pub fn open(path: &Path) -> io::Result<Self> {
        for directory in ["tmp", "new", "cur"] {
            fs::create_dir_all(path.join(directory))?;
        }
        Ok(Self {
            path: path.to_owned(),
            drafts: 0,
            random: RandomState::new().hash_one(0),
        })
    }

    /// Begins a message.
    pub fn draft(&mut self) -> io::Result<Draft> {
        self.drafts += 1;
        // If the clock shows a time before 1970, the rest makes the name unique.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let name = format!(
            "{}.M{:06}P{}Q{}R{:016x}.smtp_sink",
            now.as_secs(),
            now.subsec_micros(),
            process::id(),
            self.drafts,
            self.random,
        );
        let tmp = self.path.join("tmp").join(&name);
        Ok(Draft {
            file: BufWriter::new(File::create_new(&tmp)?),
            tmp: Some(tmp),
            new: self.path.join("new").join(name),
        })
    }
}

/// A message that is being written. Unless it is delivered, it is removed, also when the client
/// leaves.
pub struct Draft {
    file: BufWriter<File>,
    /// `None` once it is delivered.
    tmp: Option<PathBuf>,
    new: PathBuf,
}

impl Draft {
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)
    }

    /// Delivers the complete message. It may not survive a loss of power: waiting for the disk
    /// would make every client slow.
    pub fn deliver(mut self) -> io::Result<()> {
        self.file.flush()?;
        if let Some(tmp) = &self.tmp {
            fs::rename(tmp, &self.new)?;
        }
        self.tmp = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(tmp) = &self.tmp {
            // A file that cannot be removed stays in `tmp`, where it is not a message.
            // Readers of maildirs clean it up.
            let _ = fs::remove_file(tmp);
        }
    }
}
