//! The terminals that handlers may have to put back: a list that they read at any time.

use std::cell::UnsafeCell;
use std::process;
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::terminal::{self, Settings};

/// The state of an [`Entry`].
pub(super) mod state {
    /// Not in use.
    pub(in crate::sys::raw_mode) const FREE: u8 = 0;
    /// The program has put the terminal back for a while.
    pub(in crate::sys::raw_mode) const PAUSED: u8 = 1;
    /// The terminal is about to be put back for good. A handler puts it back too.
    pub(in crate::sys::raw_mode) const ENDING: u8 = 2;
    /// In raw mode, except while the process is stopped.
    pub(in crate::sys::raw_mode) const RAW: u8 = 3;
}

/// A terminal that handlers may have to put back. Entries are never freed, but used again.
pub(super) struct Entry {
    next: *const Entry,
    pub(super) state: AtomicU8,
    pub(super) number: AtomicI32,
    /// The process that set raw mode; a child made by fork(2) leaves the terminal alone.
    pub(super) process: AtomicU32,
    /// True for the terminal that controls the process, so that only the foreground may change it.
    pub(super) controls: AtomicBool,
    /// The settings before, and those of raw mode. Written only in the state FREE, and while no
    /// handler runs that began in another.
    pub(super) settings: UnsafeCell<Option<[Settings; 2]>>,
}

// SAFETY: `next` is set before an entry is shared, and never changed. `settings` is written
// as its documentation says, and read by handlers in other states only.
unsafe impl Sync for Entry {}

/// The list of all entries.
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
/// The number of handlers that read entries at this moment.
pub(super) static READERS: AtomicUsize = AtomicUsize::new(0);
/// The number of entries in use. Held while entries or dispositions change.
static IN_USE: Mutex<usize> = Mutex::new(0);

impl Entry {
    fn is_ours(&self) -> bool {
        self.process.load(Ordering::Relaxed) == process::id()
    }

    /// Returns the settings before, and those of raw mode. The entry is in use, and the lock held.
    pub(super) fn settings(&self) -> Option<[Settings; 2]> {
        // SAFETY: they are written with the lock held, which the caller holds.
        unsafe { *self.settings.get() }
    }

    /// Checks whether the process may change the terminal: in the background, it belongs to
    /// the shell. Async-signal-safe.
    pub(super) fn may_change(&self) -> bool {
        if !self.controls.load(Ordering::Relaxed) {
            return true;
        }
        // SAFETY: the call takes a number.
        let foreground = unsafe { libc::tcgetpgrp(self.number.load(Ordering::Relaxed)) };
        // SAFETY: the call takes nothing.
        foreground < 0 || foreground == unsafe { libc::getpgrp() }
    }
}

pub(super) fn lock() -> MutexGuard<'static, usize> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an entry that is free, while the lock is held.
pub(super) fn free_entry() -> &'static Entry {
    let first = ENTRIES.load(Ordering::Acquire);
    let mut next = first.cast_const();
    // SAFETY: the list has null or entries that are never freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        if entry.state.load(Ordering::SeqCst) == state::FREE {
            return entry;
        }
        // The parent's entries are of no use to a child made by fork(2).
        if !entry.is_ours() {
            entry.state.store(state::FREE, Ordering::SeqCst);
            return entry;
        }
        next = entry.next;
    }
    let entry = Box::leak(Box::new(Entry {
        next: first,
        state: AtomicU8::new(state::FREE),
        number: AtomicI32::new(-1),
        process: AtomicU32::new(0),
        controls: AtomicBool::new(false),
        settings: UnsafeCell::new(None),
    }));
    // Only under the lock, so no other thread has changed the list meanwhile.
    ENTRIES.store(entry, Ordering::Release);
    entry
}

/// Returns an entry in raw mode of the terminal of `number`, while the lock is held.
pub(super) fn raw_entry_of(number: libc::c_int) -> Option<&'static Entry> {
    let mut next = ENTRIES.load(Ordering::Acquire).cast_const();
    // SAFETY: the list has null or entries that are never freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        // Its descriptor is open: it is closed only after the entry has left this state.
        if entry.state.load(Ordering::SeqCst) == state::RAW
            && entry.is_ours()
            && terminal::are_one(entry.number.load(Ordering::Relaxed), number)
        {
            return Some(entry);
        }
        next = entry.next;
    }
    None
}

/// Waits until no handler reads an entry that was in another state.
pub(super) fn wait_for_readers() {
    while READERS.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

/// Puts all terminals of this process back, or into raw mode again.
pub(super) fn apply_to_all(raw: bool) {
    READERS.fetch_add(1, Ordering::SeqCst);
    let mut next = ENTRIES.load(Ordering::Acquire).cast_const();
    // SAFETY: the list has null or entries that are never freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.next;
        let wanted = match entry.state.load(Ordering::SeqCst) {
            state::RAW => true,
            state::ENDING => !raw,
            _ => false,
        };
        if wanted && entry.is_ours() && entry.may_change() {
            // SAFETY: the entry is in use, so its settings are written, and not written again
            // before this reader has ended.
            let settings = unsafe { *entry.settings.get() };
            if let Some(settings) = settings {
                // It fails if the terminal is gone.
                let _ = settings[usize::from(raw)].apply(entry.number.load(Ordering::Relaxed));
            }
        }
    }
    READERS.fetch_sub(1, Ordering::SeqCst);
}
