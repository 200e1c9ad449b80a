#[cfg(target_os = "linux")]
use std::collections::BTreeMap;
#[cfg(target_os = "linux")]
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::*;

/// Returns the kernel's set: for each number its flags and its data. Linux shows it in /proc.
#[cfg(target_os = "linux")]
fn kernels(poller: &EpollPoller) -> BTreeMap<RawFd, (u32, u64)> {
    let number = poller.set.as_ref().unwrap().number();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    let entry = |line: &str| {
        let mut words = line.strip_prefix("tfd:")?.split_whitespace();
        let fd = words.next()?.parse().unwrap();
        let mut hex = || u64::from_str_radix(words.nth(1).unwrap(), 16).unwrap();
        // The kernel adds EPOLLERR and EPOLLHUP.
        let flags = hex() as u32 & !(libc::EPOLLERR | libc::EPOLLHUP) as u32;
        Some((fd, (flags, hex())))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(target_os = "linux")]
fn check_invariants(poller: &EpollPoller) {
    let in_place = |place| {
        let numbered = (0..).zip(&poller.table);
        numbered.filter(move |(_, entry): &(RawFd, &Entry)| entry.place == place)
    };
    let expected: BTreeMap<_, _> = in_place(Place::Set)
        .map(|(fd, entry)| (fd, (flags_of(entry.told), entry.data(fd as usize))))
        .collect();
    assert_eq!(kernels(poller), expected);
    assert_eq!(poller.count, expected.len());
    let mut always_ready = poller.always_ready.clone();
    always_ready.sort_unstable();
    let numbers = in_place(Place::AlwaysReady).map(|(fd, _)| fd);
    assert_eq!(always_ready, numbers.collect::<Vec<_>>());
    assert_eq!(
        poller.lost.len(),
        in_place(Place::Closed).count() + in_place(Place::Refused).count()
    );
    for (fd, entry) in in_place(Place::Set) {
        assert!(entry.changed == poller.changed.contains(&fd));
        assert!(entry.changed || entry.told == entry.interest);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_kernel_knows_exactly_what_the_poller_has_told_it() {
    let mut poller = EpollPoller::new();
    let pairs: Vec<_> = (0..20).map(|_| UnixStream::pair().unwrap()).collect();
    let nulls: Vec<_> = (0..5).map(|_| File::open("/dev/null").unwrap()).collect();
    let mut fds: Vec<RawFd> = pairs.iter().map(|(ours, _)| ours.as_raw_fd()).collect();
    fds.extend(nulls.iter().map(AsRawFd::as_raw_fd));
    // Not open.
    fds.extend([901, 902]);
    let mut seed = 1_u32;
    for _ in 0..3_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let fd = fds[(seed >> 8) as usize % fds.len()];
        let interest = Interest::from_bits_truncate((seed >> 24) as u8 & 15);
        poller.set(fd, interest).unwrap();
        match seed >> 28 {
            0..4 => poller.wait(Deadline::Now, &mut Vec::new()).unwrap(),
            4 => poller.check_some(false),
            5 => poller.after_fork().unwrap(),
            _ => {}
        }
        check_invariants(&poller);
    }
}

#[test]
fn the_sets_own_number_is_refused_and_changes_nothing() {
    let mut poller = EpollPoller::new();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let own = poller.set.as_ref().unwrap().number();
    let error = poller.set(own, Interest::READABLE).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    assert_eq!(poller.place(own as usize), Place::Unknown);
    poller.set(ours.as_raw_fd(), Interest::READABLE).unwrap();
    assert_eq!(
        format!("{poller:?}"),
        format!("EpollPoller {{{}}}", ours.as_raw_fd())
    );
}
