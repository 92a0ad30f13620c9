//! Rings of values.

use core::time::Duration;

use outlive::error::RecvError;
use outlive::ring::spsc::{Receiver, Ring, Sender};

use super::case::{Case, INSIDE};
use super::judge::Survivor;
use super::peers::Peer;
use super::step::step;
use super::world::World;

/// Two words that belong together: half a message is seen.
type Message = [u64; 2];

const CAPACITY: usize = 2;

fn message(number: u64) -> Message {
    [number, !number]
}

fn ring(world: &World) -> Ring<Message> {
    Ring::open(&world.attach(), "r").unwrap()
}

fn sender(world: &World) -> Sender<Message> {
    ring(world).try_sender().unwrap()
}

fn receiver(world: &World) -> Receiver<Message> {
    ring(world).try_receiver().unwrap()
}

/// A ring with so many messages, whose ends have nobody, and whose positions were at the last slot.
fn given<const N: usize>(world: &World) {
    let ring = Ring::<Message>::create(&world.attach(), "r", CAPACITY).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    sender.send(message(0)).unwrap();
    receiver.recv().unwrap();
    (0..N).for_each(|n| sender.send(message(n as u64 + 1)).unwrap());
    sender.resign();
    receiver.resign();
}

fn drained(receiver: &mut Receiver<Message>) -> String {
    let mut seen = Vec::new();
    loop {
        match receiver.try_recv() {
            Ok([number, check]) if check == !number => seen.push(number.to_string()),
            Ok(torn) => panic!("a torn message: {torn:x?}"),
            Err(RecvError::Empty | RecvError::Closed | RecvError::PeerDied(_)) => return seen.join(" "),
            Err(fault) => panic!("{fault}"),
        }
    }
}

/// What is in it. Then it is filled and drained, as far as it goes.
fn seen(survivor: &Survivor<'_>) -> String {
    let ring = Ring::<Message>::open(survivor, "r").unwrap();
    let mut receiver = ring.try_receiver().unwrap();
    let seen = drained(&mut receiver);
    let mut sender = ring.try_sender().unwrap();
    for numbers in [10..12, 20..22, 30..32] {
        numbers.clone().for_each(|number| sender.try_send(message(number)).unwrap());
        assert!(sender.try_send(message(99)).is_err(), "more than fits");
        assert_eq!(drained(&mut receiver), format!("{} {}", numbers.start, numbers.end - 1));
    }
    assert_eq!(ring.stats().sent, ring.stats().received);
    sender.close();
    assert_eq!(receiver.try_recv(), Err(RecvError::Closed));
    seen
}

/// What the roles say.
fn roles(survivor: &Survivor<'_>) -> String {
    let stats = Ring::<Message>::open(survivor, "r").unwrap().stats();
    let told = |closed, died: bool| match (closed, died) {
        (true, false) => "closed",
        (false, true) => "died",
        (false, false) => "vacant",
        (true, true) => "both",
    };
    let roles = [
        told(stats.sender_closed, stats.sender_died.is_some()),
        told(stats.receiver_closed, stats.receiver_died.is_some()),
    ];
    assert_eq!((stats.sender, stats.receiver), (None, None));
    let epochs = (stats.senders, stats.receivers);
    seen(survivor);
    format!("{} {} {epochs:?}", roles[0], roles[1])
}

/// Waits for a message, and leaves it there.
const RECEIVER: Peer = Peer::Waits(|world| drop(receiver(world).read(1)));
/// Waits for room, and does not use it.
const SENDER: Peer = Peer::Waits(|world| drop(sender(world).reserve(1)));

const A_SECOND: Duration = Duration::from_secs(1);

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "spsc try_send",
        covers: &["spsc::Sender::try_send"],
        given: given::<1>,
        victim: |world| {
            let mut sender = sender(world);
            step(|| sender.try_send(message(2)).unwrap());
        },
        seen,
        outcomes: &["1", "1 2"],
        ..INSIDE
    },
    Case {
        name: "spsc send to a sleeper",
        covers: &["spsc::Sender::send", "spsc::Receiver::read"],
        given: given::<0>,
        peers: &[RECEIVER],
        victim: |world| {
            let mut sender = sender(world);
            step(|| sender.send(message(1)).unwrap());
        },
        seen,
        outcomes: &["", "1"],
        ..INSIDE
    },
    Case {
        name: "spsc recv from a sleeper",
        covers: &["spsc::Receiver::recv", "spsc::Sender::reserve"],
        given: given::<2>,
        peers: &[SENDER],
        victim: |world| {
            let mut receiver = receiver(world);
            step(|| receiver.recv().unwrap());
        },
        seen,
        outcomes: &["1 2", "2"],
        ..INSIDE
    },
    Case {
        name: "spsc close to a sleeper",
        covers: &["spsc::Sender::close"],
        given: given::<0>,
        peers: &[RECEIVER],
        victim: |world| {
            let sender = sender(world);
            step(|| sender.close());
        },
        seen: roles,
        outcomes: &["died died (2, 2)", "closed died (2, 2)"],
        ..INSIDE
    },
    Case {
        name: "spsc send_timeout, full",
        covers: &["spsc::Sender::send_timeout"],
        given: given::<2>,
        victim: |world| {
            let mut sender = sender(world);
            for _ in 0..8 {
                let _ = sender.send_timeout(message(3), Duration::from_millis(1));
            }
            step(|| sender.send_timeout(message(3), A_SECOND / 4).unwrap_err());
        },
        seen,
        outcomes: &["1 2"],
        ..INSIDE
    },
];
