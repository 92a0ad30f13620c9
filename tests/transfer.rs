//! `outlive send` and `outlive recv`: what comes out is what went in, whoever was killed when; and what is not all is never
//! taken for all.
//!
//! `OUTLIVE_TRANSFER_SIZE` (bytes) and `OUTLIVE_TRANSFER_KILLS` (of each side) make it long.
#![cfg(feature = "cli")]
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests panic on purpose")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use outlive::ring::{self, stream};
use outlive::{Address, Segment};
use sha2::{Digest, Sha256};

mod common;
use common::Name;
use common::process::{Random, soon, state_of};
use common::sysv::Key;

#[path = "common/command.rs"]
mod command;
use command::{Directory, bounded, ends_with, good, outlive, run};

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Bytes of which no two pieces are alike, and their sum.
struct Noise {
    random: Random,
    block: Vec<u8>,
    left: u64,
    sum: Sha256,
}

impl Noise {
    fn new(seed: u64, bytes: u64) -> Self {
        let mut random = Random::new(seed);
        let block = (0..1 << 14).flat_map(|_| random.next().to_le_bytes()).collect();
        Self { random, block, left: bytes, sum: Sha256::new() }
    }

    fn write_to(mut self, mut to: impl Write) -> String {
        while self.left > 0 {
            let stamp = self.random.next().to_le_bytes();
            self.block[..8].copy_from_slice(&stamp);
            let most = self.left.min(self.block.len() as u64);
            let len = usize::try_from(self.random.below(most) + 1).unwrap();
            let piece = &self.block[..len];
            to.write_all(piece).unwrap();
            self.sum.update(piece);
            self.left -= len as u64;
        }
        format!("{:x}", self.sum.finalize())
    }
}

fn sum(mut from: impl Read) -> String {
    let mut sum = Sha256::new();
    io::copy(&mut from, &mut sum).unwrap();
    format!("{:x}", sum.finalize())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A side that is killed and started again with the same arguments.
struct Resumed {
    arguments: Vec<String>,
    child: Child,
}

impl Resumed {
    fn start(arguments: &[&str]) -> Self {
        let child = Self::spawn(arguments);
        Self { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(), child }
    }

    fn spawn(arguments: &[&str]) -> Child {
        outlive(arguments).args(["--resume", "--timeout=60"]).spawn().unwrap()
    }

    /// Whether it has come to its end.
    fn is_done(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some_and(|status| {
            assert!(status.success(), "{:?}: {status}", self.arguments);
            true
        })
    }

    /// SIGKILL and a successor; `false`: it had ended.
    fn replace(&mut self) -> bool {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(9), "{:?}: {status}", self.arguments);
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.child = Self::spawn(&arguments);
        status.signal() == Some(9)
    }

    fn ends(mut self) {
        assert!(soon(|| self.is_done()), "{:?} does not end", self.arguments);
    }
}

impl Drop for Resumed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both sides are killed again and again, wherever they are.
fn kills_and_resumes(label: &str, address: &Address) {
    let bytes = from_environment("OUTLIVE_TRANSFER_SIZE", 64 << 20);
    let kills = from_environment("OUTLIVE_TRANSFER_KILLS", 6);
    let mut random = Random::announced(label);
    let directory = Directory::new(label);
    let (from, to) = (directory.0.join("from"), directory.0.join("to"));
    let sent = Noise::new(random.next(), bytes).write_to(File::create(&from).unwrap());
    let address = address.to_string();
    fs::write(&to, "what was there before").unwrap();
    let mut sender = Resumed::start(&["send", &address, text(&from), "--size=64K"]);
    let mut receiver = Resumed::start(&["recv", &address, text(&to), "--size=64K"]);
    let mut hit = 0;
    for kill in 0..2 * kills {
        // The first kills fall where the two come and make the segment.
        let until =
            (bytes / (2 * kills) * kill.saturating_sub(2)).saturating_add(random.below(bytes / kills));
        let reached = || fs::metadata(&to).is_ok_and(|to| to.len() >= until);
        soon(|| reached() || kill < 2 || sender.is_done() || receiver.is_done());
        let victim = if kill % 2 == 0 { &mut sender } else { &mut receiver };
        hit += u64::from(victim.replace());
    }
    sender.ends();
    receiver.ends();
    assert_eq!(fs::metadata(&to).unwrap().len(), bytes);
    assert_eq!(sum(File::open(&to).unwrap()), sent);
    assert!(hit > kills / 2, "only {hit} of {} kills hit anybody", 2 * kills);

    // Started again after the end, both see that.
    good(&["send", &address, text(&from), "--resume"]);
    good(&["recv", &address, text(&to), "--resume"]);
    assert_eq!(sum(File::open(&to).unwrap()), sent);
    // Another file, and another length, are noticed.
    File::options().write(true).open(&from).unwrap().set_len(bytes - 1).unwrap();
    ends_with(1, &run(&["send", &address, text(&from), "--resume"]));
    File::options().write(true).open(&to).unwrap().set_len(bytes - 1).unwrap();
    ends_with(1, &run(&["recv", &address, text(&to), "--resume"]));
    good(&["rm", &address]);
}

#[test]
fn killed_and_resumed_it_is_exact_in_shared_memory() {
    let name = Name::shm("transfer");
    kills_and_resumes("shm", &name.address());
}

#[test]
fn killed_and_resumed_it_is_exact_in_a_file() {
    let name = Name::file("transfer");
    kills_and_resumes("file", &name.address());
}

#[test]
fn killed_and_resumed_it_is_exact_in_system_v_memory() {
    let key = Key::new();
    kills_and_resumes("sysv", &key.address());
    assert!(key.is_clean());
}

/// A command with a pipe for one of its ends.
struct Piped(Child);

impl Piped {
    fn send(arguments: &[&str]) -> Self {
        Self(outlive(&[&["send"], arguments].concat()).stdin(Stdio::piped()).spawn().unwrap())
    }

    fn recv(arguments: &[&str]) -> Self {
        Self(outlive(&[&["recv"], arguments].concat()).spawn().unwrap())
    }

    /// It ends with this code.
    #[track_caller]
    fn ends_with(self, code: i32) -> String {
        ends_with(code, &self.0.wait_with_output().unwrap())
    }
}

#[test]
fn a_stream_much_longer_than_its_ring_is_exact() {
    let bytes = from_environment("OUTLIVE_TRANSFER_SIZE", 64 << 20);
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let mut receiver = Piped::recv(&[&address, "--rm", "--size=64K"]);
    let mut sender = Piped::send(&[&address, "--size=64K"]);
    let input = sender.0.stdin.take().unwrap();
    let sent = std::thread::spawn(move || Noise::new(7, bytes).write_to(input));
    assert_eq!(sum(receiver.0.stdout.take().unwrap()), sent.join().unwrap());
    sender.ends_with(0);
    receiver.ends_with(0);
    assert!(!name.path().exists(), "--rm");
}

#[test]
fn what_fits_into_the_ring_needs_nobody_to_wait() {
    let directory = Directory::new("fits");
    let from = directory.0.join("from");
    for bytes in [0, 1, 5000, 1 << 16] {
        let name = Name::shm("transfer");
        let address = name.address().to_string();
        let sent = Noise::new(bytes, bytes).write_to(File::create(&from).unwrap());
        good(&["send", &address, text(&from), "--size=64K"]);
        assert_eq!(ring::stats(&Segment::open(name.address()).unwrap(), "stream").unwrap().depth, bytes);
        let received = bounded(outlive(&["recv", &address, "--rm"]));
        assert!(received.status.success());
        assert_eq!(sum(&received.stdout[..]), sent);
        assert!(!name.path().exists());
    }
}

#[test]
fn one_stream_after_the_other_through_one_segment() {
    let directory = Directory::new("again");
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let from = directory.0.join("from");
    for (turn, bytes) in [300_000, 0, 100_000, 0].into_iter().enumerate() {
        let expected = Noise::new(bytes, bytes).write_to(File::create(&from).unwrap());
        let send = || Piped::send(&[&address, text(&from), "--size=64K", "--timeout=30"]);
        let recv = || Piped::recv(&[&address, "--size=64K", "--timeout=30"]);
        let (sender, mut receiver) = if turn % 2 == 0 {
            let sender = send();
            (sender, recv())
        } else {
            let receiver = recv();
            (send(), receiver)
        };
        assert_eq!(sum(receiver.0.stdout.take().unwrap()), expected, "turn {turn}");
        sender.ends_with(0);
        receiver.ends_with(0);
    }
}

#[test]
fn rm_of_the_sender_waits_for_the_receiver() {
    let directory = Directory::new("rm");
    let from = directory.0.join("from");
    for bytes in [0, 1000] {
        let name = Name::shm("transfer");
        let address = name.address().to_string();
        let sent = Noise::new(1, bytes).write_to(File::create(&from).unwrap());
        let mut sender = Piped::send(&[&address, text(&from), "--rm"]);
        assert!(soon(|| sent_through(&name) == Some((bytes, true))));
        assert!(sender.0.try_wait().unwrap().is_none() && name.path().exists());
        let mut receiver = Piped::recv(&[&address, "--rm"]);
        assert_eq!(sum(receiver.0.stdout.take().unwrap()), sent);
        sender.ends_with(0);
        receiver.ends_with(0);
        assert!(!name.path().exists());
    }
}

/// How much was sent, and whether that is all.
fn sent_through(name: &Name) -> Option<(u64, bool)> {
    let segment = Segment::options().read_only(true).open(name.address()).ok()?;
    let stats = ring::stats(&segment, "stream").ok()?;
    Some((stats.sent, stats.sender_closed))
}

#[test]
fn a_dead_peer_is_an_error_and_its_stream_is_not_taken_for_whole() {
    let directory = Directory::new("broken");
    let (from, to) = (directory.0.join("from"), directory.0.join("to"));
    Noise::new(3, 1 << 20).write_to(File::create(&from).unwrap());

    // The receiver dies: the sender is stuck, and says so.
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let mut receiver = Piped::recv(&[&address, "--size=64K"]); // nobody reads its pipe
    assert!(soon(|| sent_through(&name).is_some()), "else the sender may make it, so large that all fits");
    let sender = Piped::send(&[&address, text(&from)]);
    assert!(soon(|| sent_through(&name).is_some_and(|(sent, _)| sent > 1 << 16)));
    receiver.0.kill().unwrap();
    assert_eq!(receiver.0.wait().unwrap().signal(), Some(9));
    sender.ends_with(5);
    ends_with(5, &run(&["recv", &address]));
    ends_with(5, &run(&["send", &address, text(&from)]));
    good(&["rm", &address]);

    // The sender dies: the receiver gives what there is, and says that it is not all.
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let mut sender = Piped::send(&[&address]);
    sender.0.stdin.as_mut().unwrap().write_all(b"half of").unwrap();
    let receiver = Piped::recv(&[&address, text(&to)]);
    assert!(soon(|| fs::read(&to).is_ok_and(|bytes| bytes == b"half of")));
    sender.0.kill().unwrap();
    sender.0.wait().unwrap();
    receiver.ends_with(5);
    ends_with(5, &run(&["send", &address, text(&from)]));
    ends_with(5, &run(&["recv", &address, text(&to)]));
    assert_eq!(fs::read(&to).unwrap(), b"half of", "it was left alone");
    good(&["rm", &address]);

    // Its input fails: that is no end of the stream either.
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let mut sender = outlive(&["send", &address]);
    let sender = bounded_with(&mut sender, File::open(&directory.0).unwrap());
    ends_with(1, &sender);
    ends_with(4, &run(&["recv", &address, "--timeout=0.05"]));
}

fn bounded_with(command: &mut std::process::Command, stdin: File) -> std::process::Output {
    command.stdin(stdin).output().unwrap()
}

#[test]
fn nobody_who_reads_ends_both_sides() {
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let zeros = File::open("/dev/zero").unwrap();
    let sender = outlive(&["send", &address]).stdin(zeros).spawn().unwrap();
    let mut receiver = Piped::recv(&[&address]);
    let mut some = [1; 100];
    receiver.0.stdout.take().unwrap().read_exact(&mut some).unwrap(); // and closes
    assert_eq!(some, [0; 100]);
    let receiver = receiver.0.wait_with_output().unwrap();
    assert_eq!((receiver.status.code(), receiver.stderr.as_slice()), (Some(141), &b""[..]));
    ends_with(5, &sender.wait_with_output().unwrap());
    ends_with(5, &run(&["recv", &address]));
}

#[test]
fn time_is_up_when_the_other_side_does_not_come_or_go_on() {
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let directory = Directory::new("late");
    let (from, to) = (directory.0.join("from"), directory.0.join("to"));
    Noise::new(4, 100_000).write_to(File::create(&from).unwrap());
    let late = |arguments: &[&str]| {
        ends_with(4, &run(&[arguments, &["--timeout=50ms", "--size=64K"]].concat()));
    };
    late(&["recv", &address]);
    late(&["recv", &address, text(&to), "--resume"]);
    late(&["send", &address, text(&from), "--resume"]);
    // Both sides have come and gone, nothing is lost.
    let receiver = Piped::recv(&[&address, text(&to), "--resume"]);
    good(&["send", &address, text(&from), "--resume"]);
    receiver.ends_with(0);
    assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
    good(&["rm", &address]);
    // Without --resume it is over for the sender, and that is not the end of the stream.
    late(&["send", &address, text(&from)]);
    ends_with(5, &run(&["send", &address, text(&from)]));
    assert_eq!(bounded(outlive(&["recv", &address])).status.code(), Some(5));
    good(&["rm", &address]);
    // A receiver that has come, and stands still.
    let mut receiver = Piped::recv(&[&address, "--size=64K"]);
    late(&["send", &address, "/dev/zero"]);
    receiver.0.kill().unwrap();
    receiver.0.wait().unwrap();
    // Nobody receives what the sender waits for before it removes the segment.
    good(&["rm", &address]);
    fs::write(&from, "x").unwrap();
    late(&["send", &address, text(&from), "--rm"]);
    assert!(name.path().exists());
}

#[test]
fn who_waited_in_vain_leaves_nothing_unless_somebody_came() {
    let (shm, file, key) = (Name::shm("transfer"), Name::file("transfer"), Key::new());
    let directory = Directory::new("vain");
    let to = directory.0.join("to");
    for address in [shm.address(), file.address(), key.address()].map(|address| address.to_string()) {
        ends_with(4, &run(&["recv", &address, "--timeout=20ms"]));
        ends_with(3, &run(&["show", &address]));
        ends_with(4, &run(&["recv", &address, text(&to), "--resume", "--timeout=20ms"]));
        ends_with(3, &run(&["show", &address]));
        let input = File::open(&directory.0).unwrap();
        ends_with(1, &bounded_with(&mut outlive(&["send", &address]), input));
        ends_with(3, &run(&["show", &address]));
        // What was there before stays.
        drop(Segment::create(address.as_str(), 1 << 18).unwrap());
        ends_with(4, &run(&["recv", &address, "--timeout=20ms", "--size=64K"]));
        good(&["rm", &address]);
    }
    // A sender has come, and is killed.
    let address = shm.address().to_string();
    let receiver = Piped::recv(&[&address, text(&to), "--resume", "--timeout=1"]);
    assert!(soon(|| shm.path().exists()));
    let mut sender = Piped::send(&[&address]);
    assert!(soon(|| senders(&shm) == Some(1)));
    sender.0.kill().unwrap();
    receiver.ends_with(4);
    good(&["rm", &address]);
}

fn senders(name: &Name) -> Option<u32> {
    let segment = Segment::options().read_only(true).open(name.address()).ok()?;
    Some(ring::stats(&segment, "stream").ok()?.senders)
}

#[test]
fn a_late_rm_leaves_the_next_segment_of_the_name_alone() {
    let directory = Directory::new("late-rm");
    let from = directory.0.join("from");
    fs::write(&from, "first").unwrap();
    let (shm, key) = (Name::shm("transfer"), Key::new());
    for address in [shm.address(), key.address()] {
        let text_of = address.to_string();
        let sent = || {
            let segment = Segment::options().read_only(true).open(&address).ok()?;
            Some(ring::stats(&segment, "stream").ok()?.sender_closed)
        };
        let sender = Piped::send(&[&text_of, text(&from), "--rm"]);
        assert!(soon(|| sent() == Some(true)));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(sender.0.id()).unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        assert!(soon(|| state_of(pid) == Some('T')));
        assert_eq!(good(&["recv", &text_of, "--rm"]), "first");
        good(&["send", &text_of, "/proc/version"]);
        kill(pid, Signal::SIGCONT).unwrap();
        sender.ends_with(0);
        assert_eq!(good(&["recv", &text_of, "--rm"]), fs::read_to_string("/proc/version").unwrap());
    }
}

#[test]
fn a_segment_is_not_sent_or_received_through_itself() {
    for name in [Name::shm("transfer"), Name::file("transfer")] {
        let address = name.address().to_string();
        let path = name.path();
        let mut sender = Piped::send(&[&address]);
        sender.0.stdin.take().unwrap().write_all(b"kept").unwrap();
        sender.ends_with(0);
        ends_with(2, &run(&["recv", &address, text(&path)]));
        ends_with(2, &run(&["recv", &address, text(&path), "--resume"]));
        ends_with(2, &run(&["send", &address, text(&path)]));
        let mut command = outlive(&["recv", &address]);
        command.stdout(File::options().append(true).open(&path).unwrap());
        ends_with(2, &bounded(command));
        assert_eq!(good(&["recv", &address]), "kept");
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_is_not_taken_for_whole() {
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let directory = Directory::new("shrinks");
    let (from, to) = (directory.0.join("from"), directory.0.join("to"));
    Noise::new(5, 100_000).write_to(File::create(&from).unwrap());
    let sender = Piped::send(&[&address, text(&from), "--resume", "--size=4K", "--timeout=60"]);
    assert!(soon(|| sent_through(&name) == Some((4096, false))));
    File::options().write(true).open(&from).unwrap().set_len(100).unwrap();
    let receiver = Piped::recv(&[&address, text(&to), "--resume", "--timeout=2"]);
    sender.ends_with(1);
    receiver.ends_with(4);
}

#[test]
fn what_cannot_be_written_is_not_lost() {
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let mut sender = Piped::send(&[&address]);
    sender.0.stdin.take().unwrap().write_all(b"kept").unwrap();
    sender.ends_with(0);
    ends_with(9, &run(&["recv", &address, "/dev/full"]));
    assert_eq!(good(&["recv", &address, "--rm"]), "kept");
}

#[test]
fn one_side_is_one_process() {
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let (mut sender, mut receiver) = (Piped::send(&[&address]), Piped::recv(&[&address]));
    let roles = || {
        let segment = Segment::options().read_only(true).open(name.address()).ok()?;
        let stats = ring::stats(&segment, "stream").ok()?;
        stats.sender.zip(stats.receiver)
    };
    assert!(soon(|| roles().is_some()));
    ends_with(8, &run(&["send", &address]));
    ends_with(8, &run(&["recv", &address]));
    let directory = Directory::new("busy");
    let file = directory.0.join("file");
    fs::write(&file, "precious").unwrap();
    ends_with(8, &run(&["recv", &address, text(&file)]));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    ends_with(4, &run(&["send", &address, text(&file), "--resume", "--timeout=0.05"]));
    sender.0.stdin.take().unwrap().write_all(b"after all").unwrap();
    let mut output = String::new();
    receiver.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "after all");
    sender.ends_with(0);
    receiver.ends_with(0);
}

#[test]
fn files_of_all_kinds_are_read_or_refused_and_make_no_segment() {
    let name = Name::shm("transfer");
    let address = name.address().to_string();
    let directory = Directory::new("kinds");
    let at = |name: &str| -> PathBuf { directory.0.join(name) };
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    for side in ["send", "recv"] {
        ends_with(1, &run(&[side, &address, directory.path()]));
        ends_with(1, &run(&[side, &address, text(&at("socket"))]));
        ends_with(2, &run(&[side, &address, "/dev/null", "--resume"]));
        ends_with(2, &run(&[side, &address, "--resume"]));
        ends_with(2, &run(&[side, &address, "--size=0"]));
        ends_with(2, &run(&[side, "a/b"]));
        ends_with(3, &run(&[side, &address, text(&at("none/x"))]));
    }
    ends_with(3, &run(&["send", &address, text(&at("none"))]));
    assert!(!name.path().exists(), "nothing was made");

    // A FIFO at both ends, and a file that says it is empty.
    let sender = Piped::send(&[&address, text(&at("fifo"))]);
    fs::write(at("fifo"), "through a fifo").unwrap();
    sender.ends_with(0);
    let receiver = Piped::recv(&[&address, text(&at("fifo")), "--rm"]);
    assert_eq!(fs::read(at("fifo")).unwrap(), b"through a fifo");
    receiver.ends_with(0);
    good(&["send", &address, "/proc/version"]);
    assert_eq!(good(&["recv", &address]), fs::read_to_string("/proc/version").unwrap());
    // What is longer is truncated.
    fs::write(at("to"), "x".repeat(1000)).unwrap();
    let receiver = Piped::recv(&[&address, text(&at("to"))]);
    good(&["send", &address, "/proc/version"]);
    receiver.ends_with(0);
    assert_eq!(fs::read(at("to")).unwrap(), fs::read("/proc/version").unwrap());
}

#[test]
fn a_ring_that_somebody_else_made_is_used_as_it_is() {
    let name = Name::shm("transfer");
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let ring = stream::Ring::create(&segment, "stream", 16).unwrap();
    let mut writer = ring.try_writer().unwrap();
    let mut receiver = Piped::recv(&[&name.address().to_string()]);
    writer.write_all(&[b'x'; 1000]).unwrap();
    writer.close();
    let mut output = String::new();
    receiver.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "x".repeat(1000));
    receiver.ends_with(0);
    // One without the room is an error.
    let name = Name::shm("transfer");
    let _segment = Segment::create(name.address(), 1 << 16).unwrap();
    ends_with(9, &run(&["send", &name.address().to_string(), "/dev/zero"]));
}
