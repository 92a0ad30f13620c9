//! Who am I, and is that process still there.
//!
//! Evidence is the kernel's or it is none: pids are reused, belong to a namespace, and answer to signals as
//! zombies. A pidfd names one process for good, and becomes readable exactly when all its threads have
//! passed the point after which none of them can run user code. Whether the process it names is the one
//! that is meant is another question: the inode of the pidfd answers it (Linux 6.9 and later, unique for a
//! boot), or else the start time, which counts in clock ticks and differs between time namespaces.
//!
//! `/proc/thread-self` stands where `/proc/self` would do in most processes: that one is the first thread,
//! which may have exited. `/proc` may also show another pid namespace than ours; hence the number of a
//! process there is taken from its pidfd.
//!
//! # Orderings
//!
//! | tag | where | pairs with | why |
//! |---|---|---|---|
//! | `[C1]` | the count of calls, Relaxed | - | only that no two calls get the same number |
//!
//! # Invariants
//!
//! * **I1**: a pointer handed to `poll` or `getrandom` is to a live local, with its size.
//! * **I2**: a descriptor that `pidfd_open` returned is nobody else's.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::unistd;

use super::per_process::PerProcess;
use super::{clock, object};

/// A process, as others can recognise it. 0 means unknown, in every field but `uid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The number in its own pid namespace.
    pub pid: u32,
    /// That namespace.
    pub pid_ns: u64,
    /// The time namespace in which `start_time` was read.
    pub time_ns: u64,
    /// Clock ticks between boot and its start.
    pub start_time: u64,
    /// Inode of its pidfd, unique for the boot.
    pub pidfs_ino: u64,
    /// Effective user, in its own user namespace.
    pub uid: u32,
}

/// What the kernel says about a process.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// It is gone, or dying in all its threads.
    Dead,
    /// There was nothing against it. The pidfd becomes readable when it dies.
    Alive(OwnedFd),
    /// The kernel would not say, or the number means nothing here.
    Unknown,
}

/// This process. Worked out on the first call, and again after a fork; costs a few loads then. What could
/// not be had on the first call (for want of descriptors, say) stays unknown.
pub(crate) fn me() -> Identity {
    static ME: PerProcess<Identity> = PerProcess::new();
    ME.get(|| {
        let pid = std::process::id();
        Identity {
            pid,
            pid_ns: namespace("/proc/thread-self/ns/pid"),
            time_ns: namespace("/proc/thread-self/ns/time"),
            start_time: start_time("/proc/self/stat").unwrap_or(0),
            pidfs_ino: pidfd_open(pid).ok().and_then(|own| pidfs_ino(own.as_fd())).unwrap_or(0),
            uid: unistd::geteuid().as_raw(),
        }
    })
}

/// Looks for the process of that identity.
///
/// Only in our own pid namespace does its number mean anything; elsewhere, and where either namespace is
/// unknown, the answer is `Unknown`. If neither inode nor start time can be compared, whoever has the number
/// now counts as that process: then `Alive` may be said of a stranger, but never `Dead` of the living.
pub(crate) fn look(them: &Identity) -> Evidence {
    let me = me();
    if them.pid == 0 || them.pid_ns == 0 || them.pid_ns != me.pid_ns {
        return Evidence::Unknown;
    }
    let pidfd = match pidfd_open(them.pid) {
        Ok(pidfd) => pidfd,
        Err(Errno::ESRCH) => return Evidence::Dead,
        // Out of descriptors or memory, forbidden, not known, the number of a thread: no evidence.
        Err(_) => return Evidence::Unknown,
    };
    if is_another(them, pidfd.as_fd(), me.time_ns) {
        return Evidence::Dead;
    }
    match is_over(pidfd.as_fd()) {
        Ok(true) => Evidence::Dead,
        Ok(false) => Evidence::Alive(pidfd),
        Err(_) => Evidence::Unknown,
    }
}

/// Whether no thread of the process can run user code any more.
///
/// # Errors
///
/// What `poll` says; `EBADF` if it is no descriptor.
pub(crate) fn is_over(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut question = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one live local, by I1.
        let rc = unsafe { libc::poll(&raw mut question, 1, 0) };
        if rc >= 0 {
            break;
        }
        let errno = Errno::last();
        if errno != Errno::EINTR {
            return Err(errno.into());
        }
    }
    if question.revents & libc::POLLNVAL != 0 {
        return Err(Errno::EBADF.into());
    }
    Ok(question.revents & libc::POLLIN != 0)
}

/// The number under which `/proc` shows the process of a pidfd. `None` if it does not show it.
pub(crate) fn number_in_proc(pidfd: BorrowedFd<'_>) -> Option<u32> {
    let info = fs::read(format!("/proc/thread-self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let line = info.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Pid:"))?;
    // 0: of another namespace. -1: reaped.
    std::str::from_utf8(line).ok()?.trim().parse().ok().filter(|&number| number != 0)
}

/// Which boot of the kernel this is; `[0, 0]` if it is not told. Containers may be shown a made-up one.
/// Asked for once a process.
pub(crate) fn boot_id() -> [u64; 2] {
    static BOOT_ID: PerProcess<[u64; 2]> = PerProcess::new();
    BOOT_ID.get(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| parse_boot_id(&text))
            .unwrap_or([0, 0])
    })
}

/// 128 bits that nobody else has. Not for secrets: where the kernel gives none, they are mixed from what
/// differs between processes and calls.
pub(crate) fn random() -> [u64; 2] {
    let mut bits = [0_u64; 2];
    loop {
        // SAFETY: a live local and its size, by I1. Any bytes are integers.
        let got = unsafe { libc::getrandom((&raw mut bits).cast(), size_of_val(&bits), 0) };
        // So few bytes come whole or not at all.
        if usize::try_from(got) == Ok(size_of_val(&bits)) {
            return bits;
        }
        if Errno::last() != Errno::EINTR {
            return mixed();
        }
    }
}

/// Whether the pidfd is provably of another process than is meant.
fn is_another(them: &Identity, pidfd: BorrowedFd<'_>, our_time_ns: u64) -> bool {
    if them.pidfs_ino != 0 {
        if let Some(ino) = pidfs_ino(pidfd) {
            return ino != them.pidfs_ino;
        }
    }
    if them.start_time == 0 || them.time_ns == 0 || them.time_ns != our_time_ns {
        return false;
    }
    // If it dies in between and a stranger gets the number, the stranger's time differs: dead all the same.
    let found = number_in_proc(pidfd).and_then(|number| start_time(&format!("/proc/{number}/stat")));
    found.is_some_and(|found| found != them.start_time)
}

fn pidfd_open(pid: u32) -> nix::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| Errno::EINVAL)?;
    // SAFETY: numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0_u32) };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: a descriptor of our own, by I2.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `None` before Linux 6.9, where all pidfds have the same inode.
fn pidfs_ino(pidfd: BorrowedFd<'_>) -> Option<u64> {
    const PID_FS: u64 = 0x5049_4446;
    let found = object::file_system(pidfd).ok()?;
    if found != PID_FS {
        return None;
    }
    object::status(pidfd).ok().map(|status| status.ino)
}

fn namespace(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |found| found.ino())
}

fn start_time(path: &str) -> Option<u64> {
    parse_start_time(&fs::read(path).ok()?)
}

/// Field 22. The second is the name, in parentheses, and may hold anything: spaces, parentheses, no UTF-8.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

fn parse_boot_id(text: &str) -> Option<[u64; 2]> {
    let digits: String = text.trim().chars().filter(|&c| c != '-').collect();
    if digits.len() != 32 {
        return None;
    }
    let half = |from: usize| u64::from_str_radix(digits.get(from..from + 16)?, 16).ok();
    Some([half(0)?, half(16)?])
}

fn mixed() -> [u64; 2] {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // [C1]
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let place = u64::try_from((&raw const CALLS).addr()).unwrap_or(0);
    let first = scramble(clock::realtime_ns() ^ (u64::from(std::process::id()) << 32));
    let second = scramble(first ^ place ^ call);
    [scramble(second ^ call), second]
}

/// The finaliser of `SplitMix64`: every bit of the input reaches every bit of the output.
fn scramble(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;
    use crate::os::testing::{self, Child, Pipe};

    /// Of a child, as the child would write it down, were it to.
    fn identity_of(child: &Child) -> Identity {
        let pid = child.pid().as_raw().unsigned_abs();
        let pidfd = pidfd_open(pid).unwrap();
        let number = number_in_proc(pidfd.as_fd()).unwrap();
        Identity {
            pid,
            start_time: start_time(&format!("/proc/{number}/stat")).unwrap(),
            pidfs_ino: pidfs_ino(pidfd.as_fd()).unwrap_or(0),
            ..me()
        }
    }

    #[test]
    fn i_am_alive_and_well_known() {
        let me = me();
        assert_eq!(me.pid, std::process::id());
        assert!(me.pid_ns != 0 && me.start_time != 0);
        assert_eq!(me, super::me());
        assert!(matches!(look(&me), Evidence::Alive(_)));
    }

    #[test]
    fn a_forked_child_is_somebody_else() {
        let parent = me();
        let child = Child::spawn(|| {
            let me = me();
            let other = me.pid != parent.pid && (me.pidfs_ino != parent.pidfs_ino || me.pidfs_ino == 0);
            other && me.pid_ns == parent.pid_ns && matches!(look(&parent), Evidence::Alive(_))
        });
        assert!(child.succeeds());
    }

    #[test]
    fn a_killed_child_is_dead_as_a_zombie_and_after() {
        let ready = Pipe::new();
        let child = Child::spawn(|| {
            ready.say(1);
            testing::sleep_for_ever()
        });
        assert_eq!(ready.hear(), Some(1));
        let them = identity_of(&child);
        let Evidence::Alive(pidfd) = look(&them) else { panic!("it sleeps") };
        assert!(!is_over(pidfd.as_fd()).unwrap());
        child.signal(Signal::SIGKILL);
        assert!(testing::soon(|| is_over(pidfd.as_fd()).unwrap()));
        assert!(matches!(look(&them), Evidence::Dead), "a zombie");
        child.kill(Signal::SIGKILL);
        assert!(matches!(look(&them), Evidence::Dead), "reaped");
        assert!(is_over(pidfd.as_fd()).unwrap());
        assert_eq!(number_in_proc(pidfd.as_fd()), None);
    }

    #[test]
    fn a_stopped_child_lives() {
        let child = Child::spawn(testing::sleep_for_ever);
        child.signal(Signal::SIGSTOP);
        assert!(matches!(look(&identity_of(&child)), Evidence::Alive(_)));
    }

    #[test]
    fn a_reused_number_is_dead_by_inode_and_by_start_time() {
        let me = me();
        if me.pidfs_ino != 0 {
            assert!(matches!(look(&Identity { pidfs_ino: me.pidfs_ino + 1, ..me }), Evidence::Dead));
        }
        let by_time = Identity { pidfs_ino: 0, start_time: me.start_time + 1, ..me };
        assert!(me.time_ns == 0 || matches!(look(&by_time), Evidence::Dead));
        let right = Identity { pidfs_ino: 0, ..me };
        assert!(matches!(look(&right), Evidence::Alive(_)));
        let other_time = Identity { time_ns: me.time_ns + 1, ..by_time };
        assert!(matches!(look(&other_time), Evidence::Alive(_)), "no evidence against it");
        let nothing_known = Identity { time_ns: 0, start_time: 0, ..right };
        assert!(matches!(look(&nothing_known), Evidence::Alive(_)));
    }

    #[test]
    fn a_number_without_meaning_is_no_evidence() {
        let me = me();
        let strangers = [
            Identity { pid_ns: 0, pid: 0x3fff_ffff, ..me },
            Identity { pid_ns: me.pid_ns + 1, pid: 0x3fff_ffff, ..me },
            Identity { pid: 0, ..me },
            Identity { pid: u32::MAX, ..me },
        ];
        for them in strangers {
            assert!(matches!(look(&them), Evidence::Unknown), "{them:?}");
        }
        assert!(matches!(look(&Identity { pid: 0x3fff_ffff, ..me }), Evidence::Dead), "beyond any pid");
    }

    #[test]
    fn without_descriptors_there_is_no_evidence() {
        let child = Child::spawn(|| {
            let me = me();
            let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: a live local, by I1. It is the forked child's own limit.
            let rc = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
            rc == 0 && matches!(look(&me), Evidence::Unknown)
        });
        assert!(child.succeeds());
    }

    #[test]
    fn the_name_of_a_process_does_not_confuse() {
        let stat = b"7 (a) b (\xff) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20\n";
        assert_eq!(parse_start_time(stat), Some(4242));
        for broken in [
            &b""[..],
            b"7 (a",
            b"7 (a)",
            b"7 (a) S 1",
            b"7 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x",
        ] {
            assert_eq!(parse_start_time(broken), None);
        }
    }

    #[test]
    fn boot_ids_parse_or_are_unknown() {
        let text = "01234567-89ab-cdef-fedc-ba9876543210\n";
        assert_eq!(parse_boot_id(text), Some([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]));
        for broken in
            ["", "0123", "g1234567-89ab-cdef-fedc-ba9876543210", "\u{e9}1234567-89ab-cdef-fedc-ba987654321"]
        {
            assert_eq!(parse_boot_id(broken), None, "{broken}");
        }
        assert_eq!(boot_id(), boot_id());
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
        assert_ne!(mixed(), mixed());
    }

    #[test]
    fn what_is_no_descriptor_is_an_error() {
        // SAFETY: never used as anything but a number that is not open: the kernel's limit is far below.
        let none = unsafe { BorrowedFd::borrow_raw(0x3fff_ffff) };
        assert_eq!(is_over(none).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
