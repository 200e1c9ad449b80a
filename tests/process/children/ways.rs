//! Both ways to learn of an exit: pidfd and SIGCHLD.

use crate::common::in_own_process;

/// Runs `act` in a process of its own, with pidfds where the system has them, and again with
/// kernels that refuse them.
#[track_caller]
pub fn in_each_way(test: &str, act: impl Fn()) {
    with_refusals(test, &[libc::ENOSYS, libc::EPERM], act);
}

/// Like [`in_each_way`], for a test that takes long: refuses pidfds with one `errno` alone.
#[track_caller]
pub fn in_both_ways(test: &str, act: impl Fn()) {
    with_refusals(test, &[libc::ENOSYS], act);
}

#[track_caller]
#[cfg_attr(
    not(all(target_os = "linux", target_pointer_width = "64")),
    allow(unused_variables, reason = "pidfds are not refused")
)]
fn with_refusals(test: &str, refusals: &[i32], act: impl Fn()) {
    in_own_process(test, || {
        act();
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        for &errno in refusals {
            refuse_pidfds(errno);
            act();
        }
    });
}

/// Makes pidfd_open(2) fail with `errno` in this process from now on, as old kernels and containers
/// do. The filter of a later call decides before that of an earlier one only if it is the
/// stricter, so that all fail, with the `errno` of the last.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "tests")]
pub fn refuse_pidfds(errno: i32) {
    const NUMBER_AT: u32 = 0;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let compare = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let ret = (libc::BPF_RET | libc::BPF_K) as u16;
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        statement(load, 0, 0, NUMBER_AT),
        statement(compare, 0, 1, libc::SYS_pidfd_open as u32),
        statement(ret, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(ret, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: both calls take integers, and the second a pointer to a program that outlives it.
    let refused = unsafe {
        let set = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call takes two integers.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0_usize) };
    assert_eq!(opened, -1);
    assert!(
        [libc::ENOSYS, libc::EPERM]
            .contains(&std::io::Error::last_os_error().raw_os_error().unwrap())
    );
}
