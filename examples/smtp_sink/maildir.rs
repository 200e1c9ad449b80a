//! A directory of messages in which no half of one is ever seen: each is written
//! under `tmp` and then renamed to `new`.

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
    /// How many drafts there were.
    drafts: u64,
    /// Tells this program from any other that had its process number.
    random: u64,
}

impl Maildir {
    /// Opens or makes one.
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
        // A clock that stands before 1970 leaves it to the rest to be unique.
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

/// A message that is being written. It goes away unless it is delivered, as when
/// the client does.
pub struct Draft {
    file: BufWriter<File>,
    /// None when it is delivered.
    tmp: Option<PathBuf>,
    new: PathBuf,
}

impl Draft {
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)
    }

    /// The message is complete. It is not made to survive a loss of power, which
    /// would make every client wait for the disk.
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
