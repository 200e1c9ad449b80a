//! The poller over epoll(7), whose kernel knows files and not numbers: numbers that other code
//! closes or reuses, also if the file lives on in a duplicate.
#![cfg(with_epoll)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::alone;
use crate::common::{PATIENCE, Probe, settle, turn_until};
use fdloop::{
    Backend, Deadline, Dispatcher, EpollPoller, Event, EventLoop, Interest, Poller, Readiness,
};
use nix::fcntl::{FcntlArg, fcntl};

/// Long enough for a check, and for a wait that ends by an event that is not wanted.
const WHILE: Duration = Duration::from_millis(250);

#[track_caller]
fn close_behind(number: RawFd) {
    nix::unistd::close(number).unwrap();
}

/// Makes `number`, which must be free, a duplicate of `fd`.
#[track_caller]
fn duplicate_under(fd: impl AsFd, number: RawFd) -> OwnedFd {
    let given = fcntl(fd.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(number)).unwrap();
    assert_eq!(given, number, "the number was not free");
    #[allow(unsafe_code, reason = "the number comes from fcntl")]
    // SAFETY: fcntl has just made this descriptor, and no other code knows it.
    unsafe {
        OwnedFd::from_raw_fd(given)
    }
}

/// A watched number, the only descriptor of a stream, and its peer.
fn watched(poller: &mut EpollPoller) -> (RawFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let fd = OwnedFd::from(ours);
    let number = std::os::fd::IntoRawFd::into_raw_fd(fd);
    poller.set(number, Interest::READABLE).unwrap();
    (number, theirs)
}

#[track_caller]
fn wait(poller: &mut EpollPoller, timeout: Duration) -> Vec<Event> {
    let mut ready = Vec::new();
    poller
        .wait(Deadline::after(Some(timeout)), &mut ready)
        .unwrap();
    ready
}

/// Waits until a number is found to be lost, and forgets it.
#[track_caller]
fn find_lost(poller: &mut EpollPoller, number: RawFd) {
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE, "fd {number} is not found");
        let ready = wait(poller, PATIENCE);
        if ready == [Event::new(number, Readiness::INVALID)] {
            break;
        }
    }
    // Until it is forgotten.
    assert_eq!(wait(poller, PATIENCE).len(), 1);
    poller.set(number, Interest::empty()).unwrap();
}

/// Checks that nothing is reported, and that the wait sleeps.
#[track_caller]
fn assert_quiet(poller: &mut EpollPoller) {
    let begin = Instant::now();
    assert_eq!(wait(poller, WHILE), []);
    assert!(begin.elapsed() >= WHILE);
}

#[test]
fn a_number_that_was_closed_is_found_although_the_kernel_forgets_it_in_silence() {
    let _alone = alone();
    let mut poller = EpollPoller::new();
    let (number, _peer) = watched(&mut poller);
    assert_quiet(&mut poller);
    close_behind(number);
    find_lost(&mut poller, number);
    assert_quiet(&mut poller);
}

#[test]
fn a_number_that_is_another_files_by_now_is_found_and_gets_no_event() {
    let _alone = alone();
    let mut poller = EpollPoller::new();
    let (number, _peer) = watched(&mut poller);
    let (other, mut other_peer) = UnixStream::pair().unwrap();
    close_behind(number);
    let other = duplicate_under(other, number);
    // poll(2) would report this: it is not of the file that was added.
    other_peer.write_all(b"x").unwrap();
    find_lost(&mut poller, number);
    // The number is of that file again, if it is added.
    poller.set(number, Interest::READABLE).unwrap();
    let expected = [Event::new(number, Readiness::READABLE)];
    assert_eq!(wait(&mut poller, PATIENCE), expected);
    drop(other);
}

#[test]
fn a_file_that_lives_on_in_a_duplicate_has_no_event_for_the_next_owner_of_its_number() {
    let _alone = alone();
    let mut poller = EpollPoller::new();
    let (number, mut peer) = watched(&mut poller);
    let twin = fcntl(
        #[allow(unsafe_code, reason = "the number is open until the next line")]
        // SAFETY: nothing has closed it.
        unsafe {
            std::os::fd::BorrowedFd::borrow_raw(number)
        },
        FcntlArg::F_DUPFD_CLOEXEC(0),
    )
    .unwrap();
    let (other, mut other_peer) = UnixStream::pair().unwrap();
    close_behind(number);
    find_lost(&mut poller, number);
    // The kernel still has the file, and no number with which it could be removed.
    let other = duplicate_under(other, number);
    poller.set(number, Interest::READABLE).unwrap();
    peer.write_all(b"for the duplicate").unwrap();
    assert_quiet(&mut poller);
    // Also after the poller has made a new set.
    assert_quiet(&mut poller);
    other_peer.write_all(b"for the other").unwrap();
    let expected = [Event::new(number, Readiness::READABLE)];
    assert_eq!(wait(&mut poller, PATIENCE), expected);
    drop(other);
    close_behind(twin);
}

#[test]
fn a_number_that_refers_to_the_same_file_again_can_be_added_again() {
    let _alone = alone();
    let mut poller = EpollPoller::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let number = fcntl(ours.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(0)).unwrap();
    poller.set(number, Interest::READABLE).unwrap();
    close_behind(number);
    // The kernel refuses this, since the number is not open.
    poller.set(number, Interest::empty()).unwrap();
    let again = duplicate_under(&ours, number);
    // It has the file under that number still.
    poller.set(number, Interest::READABLE).unwrap();
    assert_quiet(&mut poller);
    theirs.write_all(b"x").unwrap();
    let expected = [Event::new(number, Readiness::READABLE)];
    assert_eq!(wait(&mut poller, PATIENCE), expected);
    drop(again);
}

#[test]
fn a_file_that_epoll_refuses_is_found_when_its_number_is_closed() {
    let _alone = alone();
    let mut poller = EpollPoller::new();
    for replaced in [false, true] {
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        let number = std::os::fd::IntoRawFd::into_raw_fd(file);
        // The interest is in nothing that could be ready, so that the wait can sleep.
        poller.set(number, Interest::PRIORITY).unwrap();
        assert_quiet(&mut poller);
        let (other, _peer) = UnixStream::pair().unwrap();
        close_behind(number);
        let _other = replaced.then(|| duplicate_under(other, number));
        find_lost(&mut poller, number);
    }
}

#[test]
fn a_poller_whose_own_descriptor_was_closed_makes_another() {
    let _alone = alone();
    let open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap();
        let links = links.filter_map(|link| {
            let path = link.unwrap().path();
            let target = fs::read_link(&path).ok()?;
            let number: RawFd = path.file_name()?.to_str()?.parse().ok()?;
            (target.to_str() == Some("anon_inode:[eventpoll]")).then_some(number)
        });
        links.collect::<Vec<_>>()
    };
    let before = open();
    let mut poller = EpollPoller::new();
    let own: Vec<_> = open()
        .into_iter()
        .filter(|fd| !before.contains(fd))
        .collect();
    assert_eq!(own.len(), 1);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    poller.set(ours.as_raw_fd(), Interest::READABLE).unwrap();
    theirs.write_all(b"x").unwrap();
    let expected = [Event::new(ours.as_raw_fd(), Readiness::READABLE)];
    for reused in [false, true] {
        close_behind(own[0]);
        let null = File::open("/dev/null").unwrap();
        let other = reused.then(|| {
            if null.as_raw_fd() == own[0] {
                OwnedFd::from(null)
            } else {
                duplicate_under(null, own[0])
            }
        });
        // The first wait may find out, and the next one works.
        let found = wait(&mut poller, PATIENCE);
        assert_eq!(found, expected);
        drop(other);
        if !reused {
            // Made anew under the lowest number, which is the one that was free.
            assert!(open().contains(&own[0]));
        }
    }
}

#[test]
fn a_loop_ends_the_channel_of_a_reused_number_and_leaves_the_number_to_its_owner() {
    let _alone = alone();
    let mut event_loop = EventLoop::with_backend(Backend::Epoll).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (probe, seen) = Probe::new();
    let id = event_loop
        .add(Dispatcher::new(ours, probe).unwrap())
        .unwrap();
    settle(&mut event_loop);
    let (stranger, mut strangers_peer) = UnixStream::pair().unwrap();
    close_behind(id.fd());
    let mut stranger = UnixStream::from(duplicate_under(stranger, id.fd()));
    strangers_peer.write_all(b"mine").unwrap();
    turn_until(&mut event_loop, "it is found", || seen.heard("close"));
    assert_eq!(
        seen.events(),
        ["close"],
        "it reads nothing of the stranger's"
    );
    assert_eq!(seen.reason().unwrap().0, Some(libc::EBADF));
    assert!(event_loop.is_empty());
    let mut buf = [0; 4];
    stranger.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"mine");
}
