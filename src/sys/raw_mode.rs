//! Terminals in raw mode, and the signal handlers that put them back.
//!
//! The handlers are not those of a signal library, since a library does not report if the program
//! handles a signal too. Here, the previous handler is kept, and a later one is found in place of
//! ours. Without either, the default action follows.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::process;
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::terminal::{self, Settings};
use super::{check, fd};

/// The signals that end a process or stop it, and the one that continues it. SIGABRT is among
/// them for a panic that aborts.
const SIGNALS: [libc::c_int; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGABRT,
    libc::SIGTSTP,
    libc::SIGCONT,
];

/// The state of an [`Entry`].
mod state {
    /// Not in use.
    pub(super) const FREE: u8 = 0;
    /// The program has put the terminal back for a while.
    pub(super) const PAUSED: u8 = 1;
    /// The terminal is about to be put back for good. A handler puts it back too.
    pub(super) const ENDING: u8 = 2;
    /// In raw mode, except while the process is stopped.
    pub(super) const RAW: u8 = 3;
}

/// A terminal that handlers may have to put back. Entries are never freed, but used again.
struct Entry {
    next: *const Entry,
    state: AtomicU8,
    number: AtomicI32,
    /// The process that set raw mode; a child made by fork(2) leaves the terminal alone.
    process: AtomicU32,
    /// True for the terminal that controls the process, so that only the foreground may change it.
    controls: AtomicBool,
    /// The settings before, and those of raw mode. Written only in the state FREE, and while no
    /// handler runs that began in another.
    settings: UnsafeCell<Option<[Settings; 2]>>,
}

// SAFETY: `next` is set before an entry is shared, and never changed. `settings` is written
// as its documentation says, and read by handlers in other states only.
unsafe impl Sync for Entry {}

/// The list of all entries.
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());
/// The number of handlers that read entries at this moment.
static READERS: AtomicUsize = AtomicUsize::new(0);
/// The number of entries in use. Held while entries or dispositions change.
static IN_USE: Mutex<usize> = Mutex::new(0);
static PREVIOUS: [Previous; SIGNALS.len()] = [const { Previous::none() }; SIGNALS.len()];

/// The disposition of a signal before ours. It is kept when ours is gone, for a handler that
/// began before in another thread.
struct Previous {
    /// True if our handler is installed, perhaps under a later one. Changed under the lock.
    is_installed: AtomicBool,
    /// The place of the disposition in `actions`. Changed under the lock.
    current: AtomicUsize,
    /// The other one is written under the lock, while no handler reads that began when it was the
    /// current one.
    actions: [UnsafeCell<Option<libc::sigaction>>; 2],
}

// SAFETY: `actions` is written as its documentation says, and otherwise read.
unsafe impl Sync for Previous {}

impl Previous {
    const fn none() -> Self {
        Self {
            is_installed: AtomicBool::new(false),
            current: AtomicUsize::new(0),
            actions: [const { UnsafeCell::new(None) }; 2],
        }
    }

    /// Async-signal-safe.
    fn get(&self) -> Option<libc::sigaction> {
        READERS.fetch_add(1, Ordering::SeqCst);
        let action = self.actions[self.current.load(Ordering::SeqCst)].get();
        // SAFETY: this is the current one. It is written again only after another has become that,
        // and this reader has ended.
        let action = unsafe { *action };
        READERS.fetch_sub(1, Ordering::SeqCst);
        action
    }

    /// Keeps `found`, while the lock is held.
    fn keep(&self, found: libc::sigaction) {
        let other = 1 - self.current.load(Ordering::SeqCst);
        wait_for_readers();
        // SAFETY: those who read it began when it was the current one, and have ended. The lock is
        // held, so that nothing else writes it.
        unsafe { *self.actions[other].get() = Some(found) };
        self.current.store(other, Ordering::SeqCst);
    }
}

/// A terminal in raw mode. Dropping it puts the terminal back.
pub(crate) struct RawTerminal {
    fd: OwnedFd,
    entry: &'static Entry,
    before: Settings,
    raw: Settings,
}

impl RawTerminal {
    /// Puts the terminal of `fd` into raw mode. In the background that stops the process, as
    /// any change of its terminal does, until it is in the foreground.
    pub(crate) fn new(fd: OwnedFd, before: Settings) -> io::Result<Self> {
        let mut in_use = lock();
        // Beneath another guard the terminal is raw already, so this one restores the same settings
        // as that guard.
        let beneath = raw_entry_of(fd.as_raw_fd()).and_then(Entry::settings);
        let before = beneath.map_or(before, |[before, _]| before);
        let raw = before.raw();
        let entry = free_entry();
        // SAFETY: the entry is FREE, and its last owner has waited for the handlers that began
        // before. The lock is held until it is RAW, so that no other thread takes the entry.
        unsafe { *entry.settings.get() = Some([before, raw]) };
        entry.number.store(fd.as_raw_fd(), Ordering::Relaxed);
        entry.process.store(process::id(), Ordering::Relaxed);
        let controls = controls_this_process(fd.as_raw_fd());
        entry.controls.store(controls, Ordering::Relaxed);
        *in_use += 1;
        if *in_use == 1 {
            install();
        }
        // Before the lock is given up, since another thread takes an entry that is FREE; and before
        // the call, so that a stop and a continuation meanwhile do not undo it.
        entry.state.store(state::RAW, Ordering::SeqCst);
        drop(in_use);
        let terminal = Self {
            fd,
            entry,
            before,
            raw,
        };
        terminal.raw.apply(terminal.fd.as_raw_fd())?;
        Ok(terminal)
    }

    /// Puts the terminal back until [`resume`](Self::resume).
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.leave(state::PAUSED, |_| true)
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        self.entry.state.store(state::RAW, Ordering::SeqCst);
        self.raw.apply(self.fd.as_raw_fd())
    }

    /// Checks whether this is the process that set raw mode.
    fn is_ours(&self) -> bool {
        self.entry.process.load(Ordering::Relaxed) == process::id()
    }

    /// Puts the terminal back if `is_last`, and leaves the entry in `next`.
    fn leave(&self, next: u8, is_last: impl FnOnce(&Self) -> bool) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let was = self.entry.state.swap(state::ENDING, Ordering::SeqCst);
        // One that continues the process may still set raw mode.
        wait_for_readers();
        let result = match was {
            state::RAW if self.entry.may_change() && is_last(self) => {
                without_stopping(|| self.before.apply(self.fd.as_raw_fd()))
            }
            _ => Ok(()),
        };
        self.entry.state.store(next, Ordering::SeqCst);
        // Before the descriptor may be closed, and the entry used again.
        wait_for_readers();
        result
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        let mut in_use = lock();
        let is_last = |this: &Self| raw_entry_of(this.fd.as_raw_fd()).is_none();
        let result = self.leave(state::FREE, is_last);
        *in_use -= 1;
        if *in_use == 0 {
            uninstall();
        }
        // The logger is the program's, and may have guards of its own.
        drop(in_use);
        if let Err(error) = result {
            // A terminal that has hung up has no settings any more.
            log::debug!(
                "fd {}: the terminal was not put back: {error}",
                self.fd.as_raw_fd()
            );
        }
    }
}

impl AsRawFd for RawTerminal {
    fn as_raw_fd(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }
}

impl Entry {
    fn is_ours(&self) -> bool {
        self.process.load(Ordering::Relaxed) == process::id()
    }

    /// Returns the settings before, and those of raw mode. The entry is in use, and the lock held.
    fn settings(&self) -> Option<[Settings; 2]> {
        // SAFETY: they are written with the lock held, which the caller holds.
        unsafe { *self.settings.get() }
    }

    /// Checks whether the process may change the terminal: in the background, it belongs to
    /// the shell. Async-signal-safe.
    fn may_change(&self) -> bool {
        if !self.controls.load(Ordering::Relaxed) {
            return true;
        }
        // SAFETY: the call takes a number.
        let foreground = unsafe { libc::tcgetpgrp(self.number.load(Ordering::Relaxed)) };
        // SAFETY: the call takes nothing.
        foreground < 0 || foreground == unsafe { libc::getpgrp() }
    }
}

fn lock() -> MutexGuard<'static, usize> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an entry that is free, while the lock is held.
fn free_entry() -> &'static Entry {
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
fn raw_entry_of(number: libc::c_int) -> Option<&'static Entry> {
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
fn wait_for_readers() {
    while READERS.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

/// Checks whether a terminal is the controlling one of this process.
fn controls_this_process(number: libc::c_int) -> bool {
    // SAFETY: the call takes a number; it fails for a terminal that controls no process, and on
    // some systems for that of another session.
    let session = unsafe { libc::tcgetsid(number) };
    // SAFETY: the call takes a number; 0 is this process.
    session > 0 && session == unsafe { libc::getsid(0) }
}

/// Runs `change` with SIGTTOU blocked, which would stop a process that went to the background
/// meanwhile.
fn without_stopping<R>(change: impl FnOnce() -> R) -> R {
    let blocked = set_of(&[libc::SIGTTOU]);
    let mut before = empty_set();
    // SAFETY: both pointers are to sets that are borrowed for the call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before) };
    let result = change();
    // SAFETY: the pointer is to a set that the call above has filled in; null is permitted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call initializes the set, which is exclusively borrowed.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the call above cannot fail.
    unsafe { set.assume_init() }
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = empty_set();
    for signal in signals {
        // SAFETY: the set is initialized and exclusively borrowed, and the signal exists.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

// --- dispositions ------------------------------------------------------------------

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

const OURS: Handler = on_signal;

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == OURS as usize
}

/// Returns the disposition of a signal. Async-signal-safe.
fn disposition(signal: libc::c_int) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: the call writes one structure to the last pointer, which is to one that is
    // exclusively borrowed, and permits null for the other.
    check(unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) }).ok()?;
    // SAFETY: the call has succeeded, so the structure is filled in.
    Some(unsafe { action.assume_init() })
}

/// Sets the disposition of a signal. Async-signal-safe.
fn dispose(signal: libc::c_int, action: &libc::sigaction) {
    // SAFETY: the call reads one structure, which is borrowed for it. Its handler is ours, which
    // keeps to what is async-signal-safe, or one that was installed before.
    unsafe { libc::sigaction(signal, ptr::from_ref(action), ptr::null_mut()) };
}

/// Makes a disposition.
fn action(handler: libc::sighandler_t) -> libc::sigaction {
    // SAFETY: zeros are a valid value of the structure, which has numbers and sets alone (and on
    // some systems a null function pointer, which is an `Option`).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_mask = set_of(&SIGNALS);
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    if handler == OURS as libc::sighandler_t {
        action.sa_flags |= libc::SA_SIGINFO;
    }
    action
}

/// Installs the handlers, while the lock is held. Signals that the program ignores stay so.
fn install() {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let Some(found) = disposition(signal) else {
            continue;
        };
        // Ours may still be under a handler that was installed later.
        let is_below = previous.is_installed.load(Ordering::Relaxed);
        let is_default = found.sa_sigaction == libc::SIG_DFL;
        if is_ours(&found) || found.sa_sigaction == libc::SIG_IGN || (is_below && !is_default) {
            continue;
        }
        previous.keep(found);
        previous.is_installed.store(true, Ordering::Relaxed);
        dispose(signal, &action(OURS as libc::sighandler_t));
    }
    static AT_EXIT: std::sync::Once = std::sync::Once::new();
    AT_EXIT.call_once(|| {
        // SAFETY: the function takes nothing and does not unwind. `std::process::exit` runs
        // it, which drops no guard.
        unsafe { libc::atexit(at_exit) };
    });
}

/// Puts the previous dispositions back, except under handlers that were installed later.
fn uninstall() {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let is_top = disposition(signal).is_some_and(|found| is_ours(&found));
        if let Some(before) = previous.get().filter(|_| is_top) {
            dispose(signal, &before);
            previous.is_installed.store(false, Ordering::Relaxed);
        }
    }
}

// --- in signal handlers ------------------------------------------------------------

extern "C" fn at_exit() {
    apply_to_all(false);
}

/// Puts all terminals of this process back, or into raw mode again.
fn apply_to_all(raw: bool) {
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

/// The handler of all [`SIGNALS`]. It makes only calls that are async-signal-safe, and neither
/// allocates nor locks.
extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let errno = nix::errno::Errno::last_raw();
    let index = SIGNALS.iter().position(|other| *other == signal);
    let previous = index.and_then(|index| PREVIOUS[index].get());
    let is_default = previous.is_none_or(|before| before.sa_sigaction == libc::SIG_DFL);
    let found = disposition(signal);
    let is_top = found.is_some_and(|found| is_ours(&found));
    // Another thread has dropped the last guard since this handler began.
    let is_gone = found.is_some_and(|found| found.sa_sigaction == libc::SIG_DFL);
    if signal == libc::SIGCONT {
        apply_to_all(true);
    } else if is_default && (is_top || is_gone) {
        apply_to_all(false);
        default_action(signal);
        // Reached only after a stop; an orphaned process group does not stop.
        if is_top {
            dispose(signal, &action(OURS as libc::sighandler_t));
        }
        apply_to_all(true);
    }
    // A program that handles the signal decides about the terminal.
    if let Some(before) = previous {
        call_previous(&before, signal, info, context);
    }
    nix::errno::Errno::set_raw(errno);
}

/// Lets the default action of a signal happen, which our handler has kept from happening.
fn default_action(signal: libc::c_int) {
    dispose(signal, &action(libc::SIG_DFL));
    let set = set_of(&[signal]);
    let mut before = empty_set();
    // SAFETY: the call takes a number. The signal stays pending, since it is blocked here.
    unsafe { libc::raise(signal) };
    // SAFETY: both pointers are to sets that are borrowed for the call.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, &raw mut before) };
    // SAFETY: as above; null is permitted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
}

/// Calls the handler that was installed before ours.
fn call_previous(
    before: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {}
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO, the value is a function with these arguments, which are
            // those that the kernel has passed.
            let handler: Handler = unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO, the value is a function that takes the signal.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Puts the terminal of `file` into raw mode.
pub(crate) fn enter(file: BorrowedFd<'_>) -> io::Result<RawTerminal> {
    let before = Settings::of(file)?;
    RawTerminal::new(fd::duplicate(file)?, before)
}
