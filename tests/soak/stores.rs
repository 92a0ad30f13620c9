//! Killed behind each store: not somewhere, but everywhere.

use outlive::Segment;
use outlive::object::Object;
use outlive::ring::spsc::{Items, Ring};

use super::common::Name;
use super::common::process::{self, Child};
use super::{Ledger, Message, Place, message};

/// Does one thing to the ring, instruction by instruction.
pub(crate) fn victim(args: &[String]) {
    let place = Place::open(&args[0]);
    let (mut sender, mut receiver) = (place.ring.try_sender().unwrap(), place.ring.try_receiver().unwrap());
    let three = [5, 6, 7].map(message);
    process::be_traced();
    match args[1].as_str() {
        "send" => sender.send(message(5)).unwrap(),
        "send slice" => assert_eq!(sender.try_send_slice(&three).unwrap(), 2),
        "commit" => {
            let mut grant = sender.try_reserve(2).unwrap();
            grant.extend(three);
            grant.commit();
        }
        "drop grant" => drop(sender.try_reserve(2).map(|mut grant| grant.extend(three))),
        "recv" => drop(receiver.recv()),
        "release" => drop(receiver.try_read(2).map(Items::release)),
        "drop items" => drop(receiver.try_read(2)),
        "close" => {
            sender.close();
            receiver.close();
        }
        "resign" => {
            sender.resign();
            receiver.resign();
        }
        _ => {
            sender.close();
            receiver.close();
            drop((place.ring.try_sender(), place.ring.try_receiver()));
        }
    }
    process::end_of_trace();
    unreachable!("it is killed there");
}

/// Killed behind each of its stores: what is found changes once, from `before` to `after`, and everything works on.
fn killed_at_each_store(what: &str, before: &[u64], after: &[u64]) {
    let name = Name::shm("stores");
    let address = name.address().to_string();
    let segment = Segment::options().size(16 << 10).rows(4).create(&address).unwrap();
    Object::<Ledger>::create(&segment, "ledger", Ledger::default).unwrap();
    let ring = Ring::<Message>::create(&segment, "messages", 4).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    // So that more go beyond the last slot: slots 3 and 0 are full.
    for number in 0..3 {
        sender.send(message(number)).unwrap();
        assert_eq!(receiver.recv(), Ok(message(number)));
    }
    assert_eq!(sender.try_send_slice(&[message(3), message(4)]).unwrap(), 2);
    assert_eq!(before, [3, 4]);
    drop((sender, receiver));
    let states = Child::start("victim", &[&address, what]).states_of(&name.path());
    eprintln!("{what}: {} states", states.len());
    let mut switched = before == after;
    for (number, state) in states.iter().enumerate() {
        let copy = Name::shm("state");
        std::fs::write(copy.path(), state).unwrap();
        let place = Place::open(&copy.address().to_string());
        let mut receiver = place.ring.try_receiver().unwrap();
        let first = receiver.position();
        let found: Vec<Message> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        let expected = |numbers: &[u64]| numbers.iter().copied().map(message).collect::<Vec<_>>();
        if !switched && found == expected(after) {
            switched = true;
        }
        assert_eq!(found, expected(if switched { after } else { before }), "{what}, state {number}");
        assert_eq!(receiver.position(), first + found.len() as u64);
        let mut sender = place.ring.try_sender().unwrap();
        assert_eq!(sender.position(), receiver.position(), "{what}, state {number}");
        assert_eq!(
            sender.try_send_slice(&[message(9); 5]).unwrap(),
            4,
            "{what}, state {number}: room is lost"
        );
        assert!((0..4).all(|_| receiver.recv() == Ok(message(9))));
        place.segment.sweep().unwrap();
        assert_eq!(place.segment.attachments().unwrap().len(), 1);
    }
    assert!(switched);
}

#[test]
fn a_sender_killed_at_any_store_has_sent_all_or_nothing() {
    killed_at_each_store("send", &[3, 4], &[3, 4, 5]);
    killed_at_each_store("send slice", &[3, 4], &[3, 4, 5, 6]);
    killed_at_each_store("commit", &[3, 4], &[3, 4, 5, 6]);
    killed_at_each_store("drop grant", &[3, 4], &[3, 4]);
}

#[test]
fn a_receiver_killed_at_any_store_has_received_all_or_nothing() {
    killed_at_each_store("recv", &[3, 4], &[4]);
    killed_at_each_store("release", &[3, 4], &[4]); // the last slot, and the first one in another batch
    killed_at_each_store("drop items", &[3, 4], &[3, 4]);
}

#[test]
fn who_takes_or_leaves_a_role_and_is_killed_at_any_store_harms_nobody() {
    for what in ["close", "resign", "take"] {
        killed_at_each_store(what, &[3, 4], &[3, 4]);
    }
}
