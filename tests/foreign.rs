//! Promise: who is known by a number of another boot of the kernel, or of another pid namespace, is judged rightly: dead
//! when it is gone, alive while it lives; and what it committed stays.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use outlive::error::RecvError;
use outlive::ring::spsc::Ring;
use outlive::{Error, Owner, Segment};

mod common;
use common::Name;
use common::process::{self, Child, say};

/// The children of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("sender", sender), ("receiver", receiver)]);
}

/// Sends a number whenever it is told one; begins with where it carries on.
fn sender(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let mut sender = Ring::<u64>::open(&segment, "ring").unwrap().sender().unwrap();
    say(&format!("from {}", sender.position()));
    loop {
        sender.send(process::hear().parse().unwrap()).unwrap();
        say("sent");
    }
}

/// Receives two numbers, then says why there are no more.
fn receiver(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    let mut receiver = Ring::<u64>::open(&segment, "ring").unwrap().try_receiver().unwrap();
    say("ready");
    loop {
        match receiver.recv() {
            Ok(number) => say(&format!("received {number}")),
            Err(RecvError::PeerDied(_)) => break say("died"),
            Err(other) => panic!("{other}"),
        }
    }
    process::sleep_for_ever_with(receiver)
}

fn started(mut child: Child, numbers: &[u64]) -> Child {
    child.expect("from");
    for number in numbers {
        child.tell(&number.to_string());
        child.expect("sent");
    }
    child
}

/// Where the header has the boot id.
const BOOT: u64 = 80;
const MADE_UP: [u8; 16] = *b"another boot id.";

fn boot_id(name: &Name) -> [u8; 16] {
    let mut found = [0; 16];
    File::open(name.path()).unwrap().read_exact_at(&mut found, BOOT).unwrap();
    found
}

fn write(name: &Name, bytes: &[u8], at: u64) {
    File::options().write(true).open(name.path()).unwrap().write_all_at(bytes, at).unwrap();
}

/// Gives a row the identity of this very process, as a number of another boot may well name somebody who lives now.
fn disguise(name: &Name, owner: Owner) {
    let row = |row: u32| 4096 + 128 * u64::from(row - 1);
    let own = Name::file("identity");
    let segment = Segment::create(own.address(), 1 << 16).unwrap();
    let mut identity = [0; 48];
    let file = File::open(own.path()).unwrap();
    file.read_exact_at(&mut identity, row(segment.owner().row()) + 8).unwrap();
    write(name, &identity, row(owner.row()) + 8);
}

/// A segment whose sender, with three messages committed, and receiver, with one of them consumed, went with the machine.
fn after_a_reboot(name: &Name) -> (Owner, Owner) {
    let address = name.address().to_string();
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let ring = Ring::<u64>::create(&segment, "ring", 8).unwrap();
    let mut sending = started(Child::start("sender", &[&address]), &[10]);
    let mut receiving = Child::start("receiver", &[&address]);
    receiving.expect("ready");
    assert_eq!(receiving.expect("received"), "10");
    receiving.stop();
    for number in ["11", "12"] {
        sending.tell(number);
        sending.expect("sent");
    }
    let stats = ring.stats();
    drop((ring, segment));
    receiving.kill();
    sending.kill();
    let (sender, receiver) = (stats.sender.unwrap(), stats.receiver.unwrap());
    for owner in [sender, receiver] {
        disguise(name, owner);
    }
    write(name, &MADE_UP, BOOT);
    (sender, receiver)
}

#[test]
fn after_a_reboot_all_are_dead_and_everything_stays() {
    let name = Name::file("reboot");
    let (sender, receiver) = after_a_reboot(&name);
    let segment = Segment::open(name.address()).unwrap();
    assert_ne!(boot_id(&name), MADE_UP, "it is this boot's from now on");
    let listed = segment.attachments().unwrap();
    assert_eq!(listed.len(), 3);
    for owner in [sender, receiver] {
        assert!(segment.is_dead(owner));
        assert!(listed.iter().any(|each| each.owner == owner && !each.alive));
    }
    let ring = Ring::<u64>::open(&segment, "ring").unwrap();
    assert_eq!((ring.stats().sent, ring.stats().received), (3, 1));
    let mut receiving = ring.try_receiver().unwrap();
    assert_eq!((receiving.recv(), receiving.recv()), (Ok(11), Ok(12)));
    assert_eq!(receiving.recv(), Err(RecvError::PeerDied(sender)));
    let mut sending = ring.try_sender().unwrap();
    assert_eq!(sending.position(), 3);
    sending.send(13).unwrap();
    assert_eq!(receiving.recv(), Ok(13));
    assert_eq!(segment.sweep().unwrap().recovered, 2);
    let other = Segment::open(name.address()).unwrap();
    assert!(!other.is_dead(segment.owner()));
}

#[test]
fn after_a_reboot_an_observer_that_comes_first_is_not_deceived() {
    let name = Name::file("reboot-seen");
    let (sender, receiver) = after_a_reboot(&name);
    let observe = || Segment::options().read_only(true).open(name.address()).unwrap();
    let observer = observe();
    assert!(observer.is_dead(sender) && observer.is_dead(receiver));
    assert!(observer.attachments().unwrap().iter().all(|each| !each.alive));
    assert_eq!(boot_id(&name), MADE_UP, "it corrects nothing");
    let segment = Segment::open(name.address()).unwrap();
    for observer in [observer, observe()] {
        assert!(observer.is_dead(sender) && !observer.is_dead(segment.owner()));
    }
}

#[test]
fn a_made_up_boot_id_kills_nobody() {
    let name = Name::file("made-up");
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let ring = Ring::<u64>::create(&segment, "ring", 8).unwrap();
    let mut child = started(Child::start("sender", &[&name.address().to_string()]), &[10]);
    let owner = ring.stats().sender.unwrap();
    drop((ring, segment));
    write(&name, &MADE_UP, BOOT);
    let observer = Segment::options().read_only(true).open(name.address()).unwrap();
    let segment = Segment::open(name.address()).unwrap();
    assert_eq!(boot_id(&name), MADE_UP, "somebody is attached: it is no other boot");
    for each in [&segment, &observer] {
        assert!(!each.is_dead(owner));
        assert!(each.attachments().unwrap().iter().all(|each| each.alive));
    }
    assert_eq!(segment.sweep().unwrap().recovered, 0);
    let ring = Ring::<u64>::open(&segment, "ring").unwrap();
    assert!(matches!(ring.try_sender(), Err(Error::Busy { owner: busy }) if busy == owner));
    let mut receiving = ring.try_receiver().unwrap();
    child.tell("11");
    child.expect("sent");
    assert_eq!((receiving.recv(), receiving.recv()), (Ok(10), Ok(11)));
    child.kill();
    assert_eq!(receiving.recv(), Err(RecvError::PeerDied(owner)));
    assert!(process::soon(|| observer.is_dead(owner)));
    assert_eq!(ring.sender().unwrap().position(), 2);
}

#[test]
fn a_role_held_in_another_pid_namespace_is_kept_and_taken_over() {
    let name = Name::shm("namespaces");
    let address = name.address().to_string();
    let segment = Segment::create(name.address(), 1 << 16).unwrap();
    let ring = Ring::<u64>::create(&segment, "ring", 8).unwrap();
    let Some(inside) = Child::start_in_a_pid_namespace("sender", &[&address]) else { return };
    let mut inside = started(inside, &[10]);
    let owner = ring.stats().sender.unwrap();
    // Its number means somebody else here, who lives for ever; it is alive by its byte.
    assert!(matches!(ring.try_sender(), Err(Error::Busy { owner: busy }) if busy == owner));
    let waited = ring.sender_timeout(Duration::from_millis(300));
    assert!(matches!(waited, Err(Error::Busy { owner: busy }) if busy == owner), "several looks later, too");
    let receiving = Child::start("receiver", &[&address]);
    receiving.expect("ready");
    assert_eq!(receiving.expect("received"), "10");
    inside.tell("11");
    inside.expect("sent");
    assert_eq!(receiving.expect("received"), "11");
    inside.kill();
    receiving.expect("died");
    // Its successor comes from yet another namespace, and receives from out here.
    let next = Child::start_in_a_pid_namespace("sender", &[&address]).unwrap();
    assert_eq!(next.expect("from"), "2");
    let successor = ring.stats().sender.unwrap();
    assert!(successor != owner && segment.is_dead(owner) && !segment.is_dead(successor));
    drop(next);
    let ours = ring.sender().unwrap(); // waits for the end of the successor
    assert_eq!(ours.position(), 2);
}
