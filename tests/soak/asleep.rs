//! Who sleeps when his peer is killed hears of it, or of the successor.

use std::thread::JoinHandle;
use std::time::Duration;

use outlive::error::{RecvError, SendError};

use super::common::Name;
use super::common::process::{self, Child, Signal, say};
use super::{Place, message};

/// Has an end of the ring, does something with it if told, and lives until it is killed.
pub(crate) fn holder(args: &[String]) {
    let place = Place::open(&args[0]);
    let mut ends = (None, None);
    match args[1].as_str() {
        "sender" => ends.0 = Some(place.ring.sender().unwrap()),
        _ => ends.1 = Some(place.ring.receiver().unwrap()),
    }
    say("ready");
    loop {
        process::hear();
        if let Some(sender) = &mut ends.0 {
            sender.send(message(sender.position())).unwrap();
        }
        if let Some(receiver) = &mut ends.1 {
            receiver.recv().unwrap();
        }
    }
}

/// Time enough to fall asleep.
fn let_it_sleep() {
    std::thread::sleep(Duration::from_millis(150));
}

/// Something that blocks, in a thread; a hang is a failure, and not a hang.
struct Sleeper<T>(JoinHandle<T>);

impl<T: Send + 'static> Sleeper<T> {
    fn new(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(std::thread::spawn(work))
    }

    fn sleeps(&self) -> bool {
        let_it_sleep();
        !self.0.is_finished()
    }

    fn returns(self) -> T {
        assert!(process::soon(|| self.0.is_finished()), "it sleeps for ever");
        self.0.join().unwrap()
    }
}

#[test]
fn a_sleeping_receiver_hears_of_the_death_or_of_the_successor() {
    for patient in [false, true] {
        let name = Name::shm("asleep");
        let address = name.address().to_string();
        let place = Place::create(&address, 4);
        let mut receiver = place.ring.try_receiver().unwrap();
        receiver.wait_for_successor(patient);
        let mut first = Child::start("holder", &[&address, "sender"]);
        first.expect("ready");
        let mut second = Child::start("holder", &[&address, "sender"]);
        let dead = receiver.peer().unwrap();
        let sleeper = Sleeper::new(move || (receiver.recv(), receiver.recv()));
        assert!(sleeper.sleeps());
        first.stop();
        assert!(sleeper.sleeps(), "stopped is not dead");
        first.signal(Signal::SIGCONT);
        first.tell("send");
        assert!(sleeper.sleeps());
        first.make_zombie();
        second.expect("ready"); // it has stood by
        second.tell("send");
        let (before, after) = sleeper.returns();
        assert_eq!(before, Ok(message(0)));
        // Either is right for the impatient: it may have slept until there was a successor.
        assert!(after == Ok(message(1)) || !patient && after == Err(RecvError::PeerDied(dead)), "{after:?}");
    }
}

#[test]
fn a_sleeping_sender_hears_of_the_death_or_of_the_successor() {
    for patient in [false, true] {
        let name = Name::shm("asleep");
        let address = name.address().to_string();
        let place = Place::create(&address, 2);
        let mut sender = place.ring.try_sender().unwrap();
        sender.wait_for_successor(patient);
        let first = Child::start("holder", &[&address, "receiver"]);
        first.expect("ready");
        let dead = sender.peer().unwrap();
        assert_eq!(sender.try_send_slice(&[message(0), message(1)]).unwrap(), 2);
        let sleeper = Sleeper::new(move || sender.send(message(2)));
        assert!(sleeper.sleeps());
        first.make_zombie();
        if patient {
            assert!(sleeper.sleeps());
            let mut second = Child::start("holder", &[&address, "receiver"]);
            second.expect("ready");
            second.tell("receive");
            assert_eq!(sleeper.returns(), Ok(()));
        } else {
            assert_eq!(sleeper.returns(), Err(SendError::PeerDied(message(2), dead)));
        }
    }
}

#[test]
fn a_sleeping_receiver_without_a_successor_hears_of_the_death() {
    let name = Name::shm("asleep");
    let address = name.address().to_string();
    let place = Place::create(&address, 2);
    let mut receiver = place.ring.try_receiver().unwrap();
    let child = Child::start("holder", &[&address, "sender"]);
    child.expect("ready");
    let dead = receiver.peer().unwrap();
    let sleeper = Sleeper::new(move || (receiver.recv(), receiver));
    assert!(sleeper.sleeps());
    child.make_zombie();
    let (told, mut receiver) = sleeper.returns();
    assert_eq!(told, Err(RecvError::PeerDied(dead)));
    assert_eq!((place.ring.stats().sender, receiver.peer()), (Some(dead), Some(dead)), "dead or alive");
    // And after the sweep, when the row is clean again.
    assert_eq!(place.segment.sweep().unwrap().recovered, 1);
    assert_eq!((place.ring.stats().sender, receiver.peer()), (None, None));
    assert_eq!(Sleeper::new(move || receiver.recv()).returns(), Err(RecvError::PeerDied(dead)));
}

#[test]
fn a_standby_takes_over_from_the_dead_and_not_from_the_stopped() {
    let name = Name::shm("standby");
    let address = name.address().to_string();
    let place = Place::create(&address, 2);
    for end in ["sender", "receiver"] {
        let child = Child::start("holder", &[&address, end]);
        child.expect("ready");
        let ring = place.ring.clone();
        let standby = Sleeper::new(move || match end {
            "sender" => ring.sender().map(|sender| sender.position()),
            _ => ring.receiver().map(|receiver| receiver.position()),
        });
        assert!(standby.sleeps());
        child.stop();
        assert!(standby.sleeps(), "stopped is not dead");
        child.make_zombie();
        assert_eq!(standby.returns().unwrap(), 0);
    }
}
