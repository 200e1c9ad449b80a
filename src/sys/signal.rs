//! Signals: a mailbox that handlers fill and a loop empties, and the default action.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libc::{c_int, siginfo_t};
use signal_hook_registry::SigId;

use super::check;
use super::fd;
use super::wake::Waker;

/// One more than the highest signal number of any platform, which is FreeBSD's SIGRTMAX, 126.
const SIGNALS: usize = 128;

/// The process that sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

/// Values of `si_code` for which `si_pid` and `si_uid` are set: SI_USER, SI_QUEUE, SI_TKILL and
/// SI_MESGQ.
#[cfg(si_codes_of_linux)]
const FROM_A_PROCESS: &[c_int] = &[0, -1, -6, -3];
/// SI_USER and SI_QUEUE, and 0, for which a kernel that sets no code leaves a process.
#[cfg(si_codes_above_64k)]
const FROM_A_PROCESS: &[c_int] = &[0x10001, 0x10002, 0];
/// SI_USER. The values of the others differ, and libc binds none of them.
#[cfg(not(any(si_codes_of_linux, si_codes_above_64k)))]
const FROM_A_PROCESS: &[c_int] = &[0];

impl Origin {
    fn of(info: &siginfo_t) -> Option<Self> {
        let exited = info.si_signo == libc::SIGCHLD && info.si_code > 0;
        if !exited && !FROM_A_PROCESS.contains(&info.si_code) {
            return None;
        }
        // SAFETY: for these codes the kernel has set the field. It is an integer in initialized
        // memory in any case.
        let pid = unsafe { info.si_pid() };
        // SAFETY: as above.
        let uid = unsafe { info.si_uid() };
        let pid = u32::try_from(pid).ok()?;
        Some(Self { pid, uid })
    }
}

/// A signal that has arrived and was not taken, in one atomic word. 0 means no signal.
mod slot {
    use super::Origin;

    /// A signal has arrived.
    const PENDING: Word = 1 << (Word::BITS - 1);
    /// The handler ran in another process than the mailbox's, which is a child of that one.
    pub(super) const ELSEWHERE: Word = 1 << (Word::BITS - 2);

    #[cfg(target_has_atomic = "64")]
    pub(super) use std::sync::atomic::AtomicU64 as Slot;
    #[cfg(target_has_atomic = "64")]
    pub(super) type Word = u64;
    /// The origin is known.
    #[cfg(target_has_atomic = "64")]
    const KNOWN: Word = 1 << 61;

    /// Packs the uid into the low half, and the pid above it. Pids have 22 bits at most.
    #[cfg(target_has_atomic = "64")]
    pub(super) fn pack(origin: Option<Origin>) -> Word {
        match origin {
            Some(Origin { pid, uid }) if pid < 1 << 29 => {
                PENDING | KNOWN | Word::from(pid) << 32 | Word::from(uid)
            }
            _ => PENDING,
        }
    }

    #[cfg(target_has_atomic = "64")]
    pub(super) fn origin(word: Word) -> Option<Origin> {
        (word & KNOWN != 0).then_some(Origin {
            pid: (word >> 32) as u32 & ((1 << 29) - 1),
            uid: word as u32,
        })
    }

    // An origin does not fit into the longest atomic word of the platform.
    #[cfg(not(target_has_atomic = "64"))]
    pub(super) use std::sync::atomic::AtomicU32 as Slot;
    #[cfg(not(target_has_atomic = "64"))]
    pub(super) type Word = u32;

    #[cfg(not(target_has_atomic = "64"))]
    pub(super) fn pack(_: Option<Origin>) -> Word {
        PENDING
    }

    #[cfg(not(target_has_atomic = "64"))]
    pub(super) fn origin(_: Word) -> Option<Origin> {
        None
    }
}
use slot::{Slot, Word};

/// The signals that have arrived for one loop, and the descriptor that wakes it.
///
/// A handler puts the signal into its slot, and then wakes the loop if the slot was empty. The loop
/// clears the descriptor, and then empties the slots. So no signal is lost, and a storm of one
/// signal costs one wake for each time that the loop has looked.
#[derive(Debug)]
pub(crate) struct Mailbox {
    slots: [Slot; SIGNALS],
    waker: Waker,
    /// The process of the loop.
    owner: AtomicU32,
    /// True if other code has closed the descriptor.
    lost: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            slots: [const { Slot::new(0) }; SIGNALS],
            waker: Waker::new()?,
            owner: AtomicU32::new(std::process::id()),
            lost: AtomicBool::new(false),
        })
    }

    /// Notes a signal. Async-signal-safe: it touches atomics, and calls getpid(2) and write(2).
    fn note(&self, signal: usize, origin: Option<Origin>) {
        let Some(slot) = self.slots.get(signal) else {
            return;
        };
        // A child that was forked and has not yet called exec or `after_fork` shares the
        // descriptor. It must not wake its parent.
        let here = std::process::id() == self.owner.load(Ordering::Relaxed);
        let mut word = slot::pack(origin);
        if !here {
            word |= slot::ELSEWHERE;
        }
        let before = slot.swap(word, Ordering::AcqRel);
        if here && before == 0 && !self.lost.load(Ordering::Relaxed) {
            // The only error that can arise is that other code has closed the descriptor, which
            // the loop finds out.
            let _ = self.waker.wake();
        }
    }

    /// Makes the descriptor unreadable. The slots are to be emptied afterwards.
    pub(crate) fn clear(&self) {
        self.waker.clear();
    }

    /// Takes a signal, with its origin, if it has arrived since the last call.
    pub(crate) fn take(&self, signal: c_int) -> Option<Option<Origin>> {
        let slot = self.slots.get(usize::try_from(signal).ok()?)?;
        let word = slot.swap(0, Ordering::AcqRel);
        (word != 0).then(|| slot::origin(word))
    }

    /// Makes the mailbox that of the process that calls this, a child of the one that made it. The
    /// signals that the parent had not taken are dropped; those that the child got are kept.
    pub(crate) fn after_fork(&self) -> io::Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.waker.renew()?;
        let emptied = self.slots.iter().map(|slot| slot.swap(0, Ordering::AcqRel));
        let emptied: Vec<Word> = emptied.collect();
        self.owner.store(std::process::id(), Ordering::Release);
        for (slot, word) in self.slots.iter().zip(emptied) {
            if word & slot::ELSEWHERE != 0 {
                // Another may have arrived meanwhile, which is then the one to report.
                let _ = slot.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
        let pending = self.slots.iter().any(|s| s.load(Ordering::Acquire) != 0);
        if pending { self.waker.wake() } else { Ok(()) }
    }

    /// Records that other code has closed the descriptor. The number is not closed again, so this
    /// mailbox stays in memory.
    pub(crate) fn lose(self: &Arc<Self>) {
        self.lost.store(true, Ordering::Relaxed);
        std::mem::forget(Arc::clone(self));
    }
}

impl AsRawFd for Mailbox {
    fn as_raw_fd(&self) -> RawFd {
        fd::number(&self.waker)
    }
}

/// A signal that goes into a mailbox until this is dropped. Afterwards the signal does nothing,
/// unless other code catches it as well.
#[derive(Debug)]
pub(crate) struct Caught(SigId);

impl Drop for Caught {
    fn drop(&mut self) {
        // Waits for handlers that run in other threads, which may use the mailbox.
        signal_hook_registry::unregister(self.0);
    }
}

/// Has `signal` put into `mailbox` whenever it arrives, and unblocks it in this thread. It must not
/// be one of [`signal_hook_registry::FORBIDDEN`].
pub(crate) fn catch(signal: c_int, mailbox: Arc<Mailbox>) -> io::Result<Caught> {
    let number = match usize::try_from(signal) {
        Ok(number @ 1..SIGNALS) => number,
        _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    // SAFETY: the action must be async-signal-safe, and `note` is: it calls getpid(2) and write(2)
    // and touches atomics. It neither allocates, nor locks, nor panics. Its last use of the mailbox
    // is before `unregister` returns. The registry keeps errno.
    let caught = unsafe {
        signal_hook_registry::register_sigaction(signal, move |info| {
            mailbox.note(number, Origin::of(info));
        })
    };
    let caught = Caught(caught?);
    unblock(signal)?;
    Ok(caught)
}

/// Unblocks `signal` in this thread. Returns the mask that the thread had before.
fn unblock(signal: c_int) -> io::Result<libc::sigset_t> {
    let mut alone = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it writes one set to the pointer, which is to one that is exclusively borrowed.
    check(unsafe { libc::sigemptyset(alone.as_mut_ptr()) })?;
    // SAFETY: the set was initialized by sigemptyset; the call changes it.
    check(unsafe { libc::sigaddset(alone.as_mut_ptr(), signal) })?;
    let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it reads one set, which is initialized, and writes another to exclusively borrowed
    // memory.
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, alone.as_ptr(), mask.as_mut_ptr()) } {
        // SAFETY: the call has succeeded, and so has written the set.
        0 => Ok(unsafe { mask.assume_init() }),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Performs the default action of `signal`: ends this process, stops it, or does nothing. Returns
/// if the process goes on, or when it has been continued.
pub(crate) fn perform_default(signal: c_int) -> io::Result<()> {
    let mut default = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero is a valid value of this structure of integers and an optional function.
    let action = unsafe { default.assume_init_mut() };
    action.sa_sigaction = libc::SIG_DFL;
    let mut caught = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the kernel reads one structure and writes another, each exclusively borrowed for the
    // call. The default action runs no code of the program's.
    check(unsafe { libc::sigaction(signal, action, caught.as_mut_ptr()) })?;
    let raised = unblock(signal).and_then(|mask| {
        // SAFETY: the call takes a number. The disposition is the default one.
        let raised = check(unsafe { libc::raise(signal) }).map(drop);
        // SAFETY: it reads one set, which outlives the call; no other is to be returned.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut()) };
        raised
    });
    // SAFETY: this was the disposition before, as the kernel returned it.
    let restored = check(unsafe { libc::sigaction(signal, caught.as_ptr(), ptr::null_mut()) });
    raised.and(restored.map(drop))
}
