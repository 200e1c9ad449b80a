//! The signal handlers, and the dispositions of the program that they replace.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::entries::{READERS, apply_to_all, wait_for_readers};
use crate::sys::check;

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

pub(super) fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call initializes the set, which is exclusively borrowed.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the call above cannot fail.
    unsafe { set.assume_init() }
}

pub(super) fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
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
pub(super) fn install() {
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
pub(super) fn uninstall() {
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
        set_raw_again();
    } else if is_default && (is_top || is_gone) {
        let ends = signal != libc::SIGTSTP;
        if ends {
            keep_from_raw();
        }
        apply_to_all(false);
        default_action(signal);
        // Reached only after a stop; an orphaned process group does not stop, and the first process
        // of a system does not end.
        if ends {
            ENDS.store(false, Ordering::SeqCst);
        }
        if is_top {
            dispose(signal, &action(OURS as libc::sighandler_t));
        }
        set_raw_again();
    }
    // A program that handles the signal decides about the terminal.
    if let Some(before) = previous {
        call_previous(&before, signal, info, context);
    }
    nix::errno::Errno::set_raw(errno);
}

/// A signal is about to end the process.
static ENDS: AtomicBool = AtomicBool::new(false);
/// The number of handlers that set raw mode again at this moment.
static SETTERS: AtomicUsize = AtomicUsize::new(0);

/// Sets raw mode again after a stop, unless a handler in another thread ends the process: a signal
/// that came during the stop is delivered with SIGCONT.
fn set_raw_again() {
    SETTERS.fetch_add(1, Ordering::SeqCst);
    if !ENDS.load(Ordering::SeqCst) {
        apply_to_all(true);
    }
    SETTERS.fetch_sub(1, Ordering::SeqCst);
}

/// Keeps handlers in other threads from setting raw mode again, and waits for those that do.
fn keep_from_raw() {
    ENDS.store(true, Ordering::SeqCst);
    // A child that was made by fork(2) in such a moment has no thread that would end it.
    for _ in 0..100 {
        if SETTERS.load(Ordering::SeqCst) == 0 {
            break;
        }
        // SAFETY: no descriptors are given, and so none are read. The call is async-signal-safe.
        unsafe { libc::poll(ptr::null_mut(), 0, 1) };
    }
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
