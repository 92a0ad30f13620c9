//! Promise: a segment without a name reaches another process by fork or through a socket, and what could be pulled away
//! under its receiver is refused with a typed error.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, signal};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use outlive::error::RecvError;
use outlive::ring::spsc::Ring;
use outlive::{Error, Segment};

mod common;
use common::Name;
use common::process::{self, Child, Signal, say};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[
        ("guest", guest),
        ("parent", parent),
        ("broken", broken),
        ("thrifty", thrifty),
        ("giver", giver),
    ]);
}

fn descriptor(segment: &Segment) -> OwnedFd {
    segment.as_fd().unwrap().try_clone_to_owned().unwrap()
}

/// Receives a segment through the socket of that name, answers in its ring, and sleeps.
fn guest(args: &[String]) {
    let socket = UnixStream::connect(&args[0]).unwrap();
    let segment = Segment::receive_over(&socket).unwrap();
    let mut sender = Ring::<u64>::open(&segment, "ring").unwrap().try_sender().unwrap();
    sender.send(7).unwrap();
    say("sent");
    process::sleep_for_ever_with(sender)
}

#[test]
fn a_segment_is_handed_to_another_process_and_outlives_it() {
    let name = Name::file("socket");
    let listener = UnixListener::bind(name.path()).unwrap();
    let mut child = Child::start("guest", &[&name.path().display().to_string()]);
    let (socket, _) = listener.accept().unwrap();
    let segment = Segment::options().anonymous().unwrap();
    let mut receiver = Ring::<u64>::create(&segment, "ring", 8).unwrap().try_receiver().unwrap();
    segment.send_over(&socket).unwrap();
    child.expect("sent");
    assert_eq!(receiver.recv(), Ok(7));
    let guest = receiver.peer().unwrap();
    assert!(!segment.is_dead(guest));
    child.kill();
    assert_eq!(receiver.recv(), Err(RecvError::PeerDied(guest)));
    assert_eq!(segment.sweep().unwrap().recovered, 1);
}

/// Hands a segment with a message in it over when told, and sleeps.
fn giver(args: &[String]) {
    let socket = UnixStream::connect(&args[0]).unwrap();
    let segment = Segment::options().memfd("given").unwrap();
    let mut sender = Ring::<u64>::create(&segment, "ring", 8).unwrap().try_sender().unwrap();
    sender.send(7).unwrap();
    say("ready");
    process::hear();
    segment.send_over(&socket).unwrap();
    say("sent");
    process::sleep_for_ever_with(sender)
}

#[test]
fn a_sender_dies_before_or_behind_its_message() {
    for sent in [false, true] {
        let name = Name::file("socket");
        let listener = UnixListener::bind(name.path()).unwrap();
        let mut child = Child::start("giver", &[&name.path().display().to_string()]);
        let (socket, _) = listener.accept().unwrap();
        child.expect("ready");
        if sent {
            child.tell("send");
            child.expect("sent");
        }
        child.kill();
        let came = Segment::receive_over(&socket);
        if !sent {
            assert!(matches!(came, Err(Error::Closed)), "{came:?}");
            continue;
        }
        let segment = came.unwrap();
        let mut receiver = Ring::<u64>::open(&segment, "ring").unwrap().try_receiver().unwrap();
        let giver = receiver.peer().unwrap();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(7), Err(RecvError::PeerDied(giver))));
        assert_eq!(segment.sweep().unwrap().recovered, 1);
        assert_eq!(segment.attachments().unwrap().len(), 1);
    }
}

/// Makes an anonymous segment, and has a child that answers in it and is killed.
fn parent(_: &[String]) {
    let segment = Segment::options().size(1 << 17).anonymous().unwrap();
    assert!(segment.created() && segment.size() == 1 << 17);
    let mut receiver = Ring::<u64>::create(&segment, "ring", 8).unwrap().try_receiver().unwrap();
    let Some(child) = process::fork() else {
        process::leave(|| {
            assert!(matches!(segment.flush(), Err(Error::Forked)));
            assert!(matches!(segment.snapshot(), Err(Error::Forked)));
            let (ours, _theirs) = UnixStream::pair().unwrap();
            assert!(matches!(segment.send_over(&ours), Err(Error::Forked)));
            let own = segment.attach().unwrap();
            Ring::<u64>::open(&own, "ring").unwrap().try_sender().unwrap().send(1).unwrap();
            own.send_over(&ours).unwrap();
            assert_eq!(own.attachments().unwrap().len(), 2);
        })
    };
    assert_eq!(receiver.recv(), Ok(1));
    child.succeeds();
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
    assert_eq!(segment.attachments().unwrap().len(), 1);
}

#[test]
fn an_anonymous_segment_is_shared_by_fork() {
    Child::start("parent", &[]).succeeds();
}

#[test]
fn what_is_received_is_the_same_segment_and_closed_on_exec() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let segment = Segment::options().memfd("same").unwrap();
    segment.send_over(&ours).unwrap();
    (&ours).write_all(b"and more").unwrap();
    let received = Segment::receive_over(&theirs).unwrap();
    assert_ne!(received.owner(), segment.owner());
    assert_eq!(received.attachments().unwrap(), segment.attachments().unwrap());
    let flags = fcntl(received.as_fd().unwrap(), FcntlArg::F_GETFD).unwrap();
    assert!(FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC));
    assert!(File::from(descriptor(&received)).set_len(4096).is_err(), "sealed against shrinking");
    let mut rest = [0; 8];
    (&theirs).read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"and more", "nothing but the message was taken");
    // An observer may pass it on, and one may be received as an observer.
    received.send_over(&theirs).unwrap();
    let observer = Segment::options().read_only(true).receive_over(&ours).unwrap();
    assert!(observer.is_read_only());
    observer.send_over(&ours).unwrap();
    assert_eq!(Segment::receive_over(&theirs).unwrap().attachments().unwrap().len(), 3);
}

#[test]
fn what_has_a_name_is_not_sent() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (shm, file) = (Name::shm("named"), Name::file("named"));
    for segment in [
        Segment::create(shm.address(), 1 << 16).unwrap(),
        Segment::create(file.address(), 1 << 16).unwrap(),
        Segment::heap(1 << 16).unwrap(),
    ] {
        assert!(matches!(segment.send_over(&ours), Err(Error::Unsupported { .. })));
    }
    theirs.set_nonblocking(true).unwrap();
    let nothing = Segment::receive_over(&theirs).unwrap_err();
    assert!(matches!(&nothing, Error::Os { call: "recvmsg", .. }), "{nothing}");
    theirs.set_nonblocking(false).unwrap();
    theirs.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(matches!(Segment::receive_over(&theirs), Err(Error::Os { .. })), "it does not hang");
}

/// What `send_over` sends for this segment, with these descriptors.
fn forge(socket: &UnixStream, segment: &Segment, descriptors: &[&OwnedFd], cookie_of: Option<&Segment>) {
    let mut header = [0; 128];
    let fd = descriptor(cookie_of.unwrap_or(segment));
    std::os::unix::fs::FileExt::read_exact_at(&File::from(fd), &mut header, 0).unwrap();
    let mut message = *b"OUTLFD\0\x01................";
    message[8..].copy_from_slice(&header[104..120]);
    let numbers: Vec<_> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let attached = if numbers.is_empty() { &[][..] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&message)], attached, MsgFlags::empty(), None).unwrap();
}

fn memfd(sealed: bool) -> OwnedFd {
    let fd = memfd_create("forged", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).unwrap();
    nix::unistd::ftruncate(&fd, 1 << 16).unwrap();
    if sealed {
        fcntl(fd.as_fd(), FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    }
    fd
}

/// A copy of the segment that anybody can truncate.
fn unsealed(segment: &Segment) -> OwnedFd {
    let mut bytes = vec![0; usize::try_from(segment.size()).unwrap()];
    let source = File::from(descriptor(segment));
    std::os::unix::fs::FileExt::read_exact_at(&source, &mut bytes, 0).unwrap();
    let copy = memfd(false);
    std::os::unix::fs::FileExt::write_all_at(&File::from(copy.try_clone().unwrap()), &bytes, 0).unwrap();
    copy
}

#[test]
fn what_is_no_segment_that_stays_is_refused() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let segment = Segment::options().memfd("good").unwrap();
    let good = descriptor(&segment);
    let received = || Segment::receive_over(&theirs);
    forge(&ours, &segment, &[&good], None);
    assert!(received().is_ok(), "the forger knows his trade");
    forge(&ours, &segment, &[&unsealed(&segment)], None);
    assert!(matches!(received(), Err(Error::Denied { .. })), "it could be truncated");
    let name = Name::shm("linked");
    let linked = Segment::create(name.address(), 1 << 16).unwrap();
    forge(&ours, &segment, &[&descriptor(&linked)], None);
    assert!(matches!(received(), Err(Error::Denied { .. })), "it has a name, and could be truncated");
    forge(&ours, &segment, &[&OwnedFd::from(ours.try_clone().unwrap())], None);
    assert!(matches!(received(), Err(Error::Denied { .. })), "a socket");
    forge(&ours, &segment, &[&memfd(true)], None);
    assert!(matches!(received(), Err(Error::Foreign { .. })), "sealed zeros");
    forge(&ours, &segment, &[&good], Some(&Segment::options().memfd("other").unwrap()));
    assert!(matches!(received(), Err(Error::Foreign { .. })), "another segment than it says");
    forge(&ours, &segment, &[], None);
    assert!(matches!(received(), Err(Error::Foreign { .. })), "no descriptor");
    assert_eq!(segment.attachments().unwrap().len(), 1, "nobody is attached who was refused");
    (&ours).write_all(&[7; 24]).unwrap();
    assert!(matches!(received(), Err(Error::Foreign { .. })), "garbage");
    (&ours).write_all(b"OUT").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(received(), Err(Error::Foreign { .. })), "three bytes and the end");
    assert!(matches!(received(), Err(Error::Closed)), "the end");
}

/// Counts its descriptors.
fn thrifty(_: &[String]) {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let segment = Segment::options().memfd("thrifty").unwrap();
    let good = descriptor(&segment);
    let bad = unsealed(&segment);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let attempt = |descriptors: &[&OwnedFd]| {
        forge(&ours, &segment, descriptors, None);
        Segment::receive_over(&theirs)
    };
    drop(attempt(&[&good]).unwrap());
    let before = open();
    drop(attempt(&[&good]).unwrap());
    for refused in [&[&good, &good][..], &[&bad], &[&good; 250]] {
        let refused = attempt(refused).unwrap_err();
        assert!(matches!(refused, Error::Foreign { .. } | Error::Denied { .. }), "{refused}");
        assert_eq!(open(), before);
    }
    // Fewer than come: the kernel cuts them off, and those that it did not are closed.
    let few = u64::try_from(before).unwrap() + 40;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, few, few).unwrap();
    assert!(attempt(&[&good; 100]).is_err());
    assert_eq!(open(), before);
    forge(&ours, &segment, &[&good], None);
    let others: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let refused = Segment::receive_over(&theirs).unwrap_err();
    assert!(matches!(refused, Error::Os { call: "recvmsg", .. }), "not the peer's fault: {refused}");
    drop(others);
    assert_eq!(open(), before);
    drop(attempt(&[&good]).unwrap());
}

#[test]
fn no_descriptor_is_left_open_whatever_comes() {
    Child::start("thrifty", &[]).succeeds();
}

/// Sends to nobody, and would die of the signal.
fn broken(_: &[String]) {
    // SAFETY: the default action, and no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
    let segment = Segment::options().memfd("broken").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(matches!(segment.send_over(&ours), Err(Error::Closed)));
    assert!(matches!(Segment::receive_over(&ours), Err(Error::Closed)));
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_signal() {
    Child::start("broken", &[]).succeeds();
}

#[test]
fn every_kind_can_be_flushed() {
    let (shm, file) = (Name::shm("flush"), Name::file("flush"));
    let file_segment = Segment::create(file.address(), 1 << 16).unwrap();
    Ring::<u64>::create(&file_segment, "ring", 8).unwrap().try_sender().unwrap().send(1).unwrap();
    let observer = Segment::options().read_only(true).open(file.address()).unwrap();
    for segment in [
        file_segment,
        observer,
        Segment::create(shm.address(), 1 << 16).unwrap(),
        Segment::options().anonymous().unwrap(),
        Segment::heap(1 << 16).unwrap(),
    ] {
        segment.flush().unwrap();
    }
}
