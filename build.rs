//! Finds out what the target platform has and names it, so that the code says
//! `cfg(has_ppoll)` and not a list of operating systems.
//!
//! Each fact below carries its reason. Nothing is probed by running programs:
//! the facts follow from the target alone, so cross builds are right too.

use std::env;

/// A fact: the `cfg` it sets, and the groups of platforms that it holds for.
type Fact = (&'static str, &'static [Platforms]);

/// Values of `target_os`.
type Platforms = &'static [&'static str];

const LINUX: Platforms = &["linux"];
const ANDROID: Platforms = &["android"];
const FREEBSD: Platforms = &["freebsd", "dragonfly"];
const NETBSD: Platforms = &["netbsd"];
const OPENBSD: Platforms = &["openbsd"];
const SOLARIS: Platforms = &["illumos", "solaris"];
const ILLUMOS: Platforms = &["illumos"];
const APPLE: Platforms = &["macos", "ios", "tvos", "watchos", "visionos"];

const FACTS: &[Fact] = &[
    // ppoll(2) takes a timespec, so timeouts below a millisecond are exact.
    // Apple systems have none, NetBSD only since version 10, and Rust programs
    // run on older ones; libc does not bind illumos's and Solaris's.
    ("has_ppoll", &[LINUX, ANDROID, FREEBSD, OPENBSD]),
    // A poll(2) that sleeps wakes for the hang-up of a descriptor whose `events` are 0.
    // FreeBSD and NetBSD look at it only when the call begins; Apple systems never do.
    ("poll_wakes_unasked", &[LINUX, ANDROID, OPENBSD, SOLARIS]),
    // epoll(7). Solaris does not have it, although it is otherwise like illumos.
    ("has_epoll", &[LINUX, ANDROID, ILLUMOS]),
    // The kernel may have epoll_pwait2(2), whose timeout is exact. That of illumos does not.
    ("has_epoll_pwait2", &[LINUX, ANDROID]),
    // accept4(2) makes an accepted socket close-on-exec and non-blocking in
    // the same call. Apple systems have only accept(2).
    (
        "has_accept4",
        &[LINUX, ANDROID, FREEBSD, NETBSD, OPENBSD, SOLARIS],
    ),
    // accept(2) passes on network errors that wait on the new connection, among them
    // EOPNOTSUPP, which elsewhere says that the socket can never accept.
    ("accept_passes_on_errors", &[LINUX, ANDROID]),
    // SOCK_CLOEXEC and SOCK_NONBLOCK in the type given to socket(2). Apple
    // systems need fcntl(2) afterwards, so a fork in between can leak the socket.
    (
        "has_sock_flags",
        &[LINUX, ANDROID, FREEBSD, NETBSD, OPENBSD, SOLARIS],
    ),
    // dup3(2) replaces a descriptor and keeps it close-on-exec in one step;
    // Apple systems have only dup2(2), and libc does not bind Android's dup3.
    ("has_dup3", &[LINUX, FREEBSD, NETBSD, OPENBSD, SOLARIS]),
    // Connections to a port that several sockets listen on are distributed among them: with
    // SO_REUSEPORT, or on FreeBSD SO_REUSEPORT_LB. Elsewhere one of the sockets gets them all, or
    // the option does not exist.
    ("distributes_port", &[LINUX, ANDROID, FREEBSD]),
    ("has_reuseport_lb", &[&["freebsd"]]),
    // MSG_NOSIGNAL: a send on a broken connection fails with EPIPE, without
    // SIGPIPE. Apple systems know it since recently; SO_NOSIGPIPE, set on the
    // socket, does the same on all of them.
    (
        "has_msg_nosignal",
        &[LINUX, ANDROID, FREEBSD, NETBSD, OPENBSD, SOLARIS],
    ),
    // MSG_DONTWAIT keeps one call from waiting, whatever the flags of the socket say.
    // Apple's kernel heeds it when receiving only.
    (
        "has_msg_dontwait",
        &[LINUX, ANDROID, FREEBSD, NETBSD, OPENBSD, SOLARIS],
    ),
    // eventfd(2): one descriptor wakes a loop, where a pipe takes two. FreeBSD 13 and
    // NetBSD 10 have it, and Rust programs run on older ones.
    ("has_eventfd", &[LINUX, ANDROID]),
    // The values of a signal's `si_code`, of which libc binds only Linux's: negative ones for
    // what a program caused, or those of FreeBSD, from 0x10001 on.
    ("si_codes_of_linux", &[LINUX, ANDROID]),
    ("si_codes_above_64k", &[&["freebsd"], APPLE]),
    // pidfd_open(2). On kernels before 5.3 it fails with ENOSYS. On Android, the sandbox may kill
    // programs that make calls unknown to it.
    ("has_pidfd", &[LINUX]),
    // Opening /proc/self/fd/N makes a new open file description of the same file, also
    // of a pipe without a name. Elsewhere /dev/fd/N duplicates the descriptor.
    ("opens_through_proc", &[LINUX, ANDROID]),
    // The numbers of device files are fixed: see Documentation/admin-guide/devices.txt
    // in the kernel's source. Elsewhere the system assigns them.
    ("has_fixed_device_numbers", &[LINUX, ANDROID]),
    // TIOCGDEV returns the terminal that /dev/tty was when it was opened. libc does not bind
    // Android's.
    ("has_tiocgdev", &[LINUX]),
    // Each open(2) of a serial line raises DTR and RTS, also if the line is open already
    // and a program has lowered them.
    ("open_raises_modem_lines", &[LINUX, ANDROID]),
    // A call fails for a terminal and succeeds for the master of a pseudo-terminal:
    // TIOCPTMASTER, ptsname_r(3) or TIOCPTYGNAME. On Linux the device number differs. Where
    // libc binds none of these calls, terminals are not opened by their names.
    ("has_tiocptmaster", &[&["freebsd"]]),
    ("has_ptsname_r", &[NETBSD]),
    ("has_tiocptygname", &[APPLE]),
    (
        "tells_pty_masters",
        &[LINUX, ANDROID, &["freebsd"], NETBSD, APPLE],
    ),
    // posix_openpt(3) takes O_CLOEXEC, and ptsname_r(3) names the terminal. Elsewhere openpty(3)
    // opens both sides, which become close-on-exec afterwards: illumos needs more than the
    // steps, and libc binds ptsname_r of few others.
    ("opens_ptys_in_steps", &[LINUX, ANDROID]),
    // TIOCGDEV in ioctl_tty(2) tells which terminal a descriptor is of. Elsewhere the number of the
    // device file does. libc does not bind it for Android.
    ("has_tiocgdev", &[LINUX]),
    // splice(2) moves bytes from or to a pipe within the kernel. It is Linux's.
    ("has_splice", &[LINUX, ANDROID]),
    // The kernel takes bit sets longer than FD_SETSIZE. On Apple systems only
    // the variant `select$DARWIN_EXTSN` does (see sys/select.rs); illumos and
    // Solaris return EINVAL past FD_SETSIZE, which is 65,536 there.
    (
        "select_grows",
        &[LINUX, ANDROID, FREEBSD, NETBSD, OPENBSD, APPLE],
    ),
    // The words of a descriptor set are 32 bits wide; elsewhere they are longs.
    ("select_words_of_32_bits", &[NETBSD, OPENBSD, APPLE]),
    // Abstract Unix addresses, which live outside the file system, are Linux's.
    ("has_abstract_addresses", &[LINUX, ANDROID]),
    // Apple systems differ in small things each of which is explained where it is used.
    ("apple", &[APPLE]),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    // Here, since the compiler would add a list of all that is missing.
    if env::var_os("CARGO_CFG_UNIX").is_none() {
        println!("cargo::error=fdloop is for Unix: it is built on select(2) and poll(2)");
    }
    // An instruction that fetches memory ahead of its use. Every x86-64 processor has it;
    // for most other architectures Rust has none that is stable.
    println!("cargo::rustc-check-cfg=cfg(has_prefetch)");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo::rustc-cfg=has_prefetch");
    }
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    for (cfg, _) in FACTS {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        if holds(cfg, &os) {
            println!("cargo::rustc-cfg={cfg}");
        }
    }

    // The feature `epoll` is on, and the platform has epoll(7).
    println!("cargo::rustc-check-cfg=cfg(with_epoll)");
    let with_epoll = has("EPOLL") && holds("has_epoll", &os);
    if with_epoll {
        println!("cargo::rustc-cfg=with_epoll");
    }
    if !has("SELECT") && !has("POLL") && !with_epoll {
        println!(
            "cargo::error=fdloop needs a backend: enable the feature \"select\" or \"poll\" (the \
             default enables both), or \"epoll\" on Linux, Android or illumos"
        );
    }

    // The default backend is poll, whose cost does not depend on how high the
    // descriptor numbers are, except on Apple systems, whose poll(2) returns
    // POLLNVAL for terminals and other devices. With one backend built, that one.
    // epoll(7) takes a descriptor of its own and cannot report all that poll(2) can, so the
    // program chooses it.
    let apple = APPLE.contains(&os.as_str());
    println!(
        "cargo::rustc-check-cfg=cfg(default_backend, values(\"select\", \"poll\", \"epoll\"))"
    );
    let default = match (has("SELECT"), has("POLL")) {
        (true, true) if apple => "select",
        (true, false) => "select",
        (false, false) if with_epoll => "epoll",
        _ => "poll",
    };
    println!("cargo::rustc-cfg=default_backend=\"{default}\"");
}

/// Checks whether a fact holds on an operating system.
fn holds(fact: &str, os: &str) -> bool {
    FACTS
        .iter()
        .any(|(cfg, platforms)| *cfg == fact && platforms.concat().contains(&os))
}
