//! Rings of values.

use core::time::Duration;

use outlive::Trusted;
use outlive::error::RecvError;
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive_kill::{Case, INSIDE, Peer, Survivor, World, dies, forget, keep, step, step_unwinding};

use super::told::told;

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

/// A ring with so many messages, whose ends have nobody, and which begin in its last slot.
fn given<const N: usize>(world: &World) {
    given_behind(world, CAPACITY - 1, N);
}

/// The same, and they begin in its first slot.
fn in_a_row<const N: usize>(world: &World) {
    given_behind(world, CAPACITY, N);
}

fn given_behind(world: &World, before: usize, count: usize) {
    let ring = Ring::<Message>::create(&world.attach(), "r", CAPACITY).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    for _ in 0..before {
        sender.send(message(0)).unwrap();
        receiver.recv().unwrap();
    }
    (0..count).for_each(|n| sender.send(message(n as u64 + 1)).unwrap());
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
    let roles = told(survivor, Ring::<Message>::open(survivor, "r").unwrap().stats());
    seen(survivor);
    roles
}

/// Waits for a message, and leaves it there.
const RECEIVER: Peer = Peer::Waits(|world| {
    let mut receiver = receiver(world);
    drop(receiver.read(1));
    forget(receiver);
});
/// Waits for room, and does not use it.
const SENDER: Peer = Peer::Waits(|world| {
    let mut sender = sender(world);
    drop(sender.reserve(1));
    forget(sender);
});
/// Waits for a role, and lets it go again with its life.
const NEXT_SENDER: Peer = Peer::Waits(|world| forget(ring(world).sender()));
const NEXT_RECEIVER: Peer = Peer::Waits(|world| forget(ring(world).receiver()));
/// Has a role.
const HOLDS_SENDER: Peer = Peer::Keeps(|world| keep(sender(world)));
const HOLDS_RECEIVER: Peer = Peer::Keeps(|world| keep(receiver(world)));

/// As [`given`], and a process with both roles has died.
fn of_the_dead(world: &World) {
    given::<1>(world);
    dies(|| forget((sender(world), receiver(world))));
}

/// As [`given`], and both roles are closed.
fn closed(world: &World) {
    given::<1>(world);
    let ring = ring(world);
    ring.try_sender().unwrap().close();
    ring.try_receiver().unwrap().close();
}

/// Long enough to spin and then to fall asleep, step by step.
const LONGER: Duration = Duration::from_secs(3);
/// The states of an operation that announces its sleep, behind one that found nobody asleep and cleared what said so: one
/// more. Unoptimised, it spins all the time.
const SLEPT: usize = if cfg!(debug_assertions) { 1 } else { 2 };

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
        name: "spsc send_timeout, full",
        covers: &["spsc::Sender::send_timeout"],
        given: given::<2>,
        victim: |world| {
            let (mut sender, mut receiver) = (sender(world), receiver(world));
            receiver.recv().unwrap();
            sender.send(message(3)).unwrap();
            step(|| sender.send_timeout(message(4), LONGER).unwrap_err());
        },
        seen,
        outcomes: &["2 3"],
        states: SLEPT,
        ..INSIDE
    },
    Case {
        name: "spsc try_send_slice",
        covers: &["spsc::Sender::try_send_slice"],
        given: given::<0>,
        victim: |world| {
            let mut sender = sender(world);
            step(|| sender.try_send_slice(&[1, 2, 3].map(message)).unwrap());
        },
        seen,
        outcomes: &["", "1 2"],
        ..INSIDE
    },
    Case {
        name: "spsc try_reserve, dropped",
        covers: &["spsc::Sender::try_reserve", "spsc::Grant::push", "spsc::Grant::extend"],
        given: in_a_row::<0>,
        victim: |world| {
            let mut sender = sender(world);
            step(|| {
                let mut grant = sender.try_reserve(2).unwrap();
                grant.push(message(1)).unwrap();
                grant.extend([message(2)]);
            });
        },
        seen,
        outcomes: &[""],
        ..INSIDE
    },
    Case {
        name: "spsc commit",
        covers: &["spsc::Grant::commit", "spsc::Sender::reserve_timeout"],
        given: in_a_row::<0>,
        peers: &[RECEIVER],
        victim: |world| {
            let mut sender = sender(world);
            let mut grant = sender.reserve_timeout(2, LONGER).unwrap();
            grant.extend([1, 2].map(message));
            step(|| grant.commit());
        },
        seen,
        outcomes: &["", "1 2"],
        ..INSIDE
    },
    Case {
        name: "spsc grant in place",
        covers: &["spsc::Grant::as_mut_slice", "spsc::Grant::spare", "spsc::Grant::set_len"],
        given: in_a_row::<0>,
        victim: |world| {
            // SAFETY: processes of this test only, which keep the protocol.
            let segment = unsafe { world.attach().trust() };
            let mut sender = Ring::<Message, Trusted>::open(&segment, "r").unwrap().try_sender().unwrap();
            step(|| {
                let mut grant = sender.try_reserve(2).unwrap();
                let slots = grant.spare();
                slots[0].write(message(1));
                slots[1].write(message(8));
                // SAFETY: written above.
                unsafe { grant.set_len(2) };
                grant.as_mut_slice()[1] = message(2);
                grant.commit()
            });
        },
        seen,
        outcomes: &["", "1 2"],
        ..INSIDE
    },
    Case {
        name: "spsc try_recv",
        covers: &["spsc::Receiver::try_recv"],
        given: given::<2>,
        victim: |world| {
            let mut receiver = receiver(world);
            step(|| receiver.try_recv().unwrap());
        },
        seen,
        outcomes: &["1 2", "2"],
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
        name: "spsc recv_timeout, empty",
        covers: &["spsc::Receiver::recv_timeout"],
        given: given::<0>,
        victim: |world| {
            let (mut sender, mut receiver) = (sender(world), receiver(world));
            sender.send(message(1)).unwrap();
            receiver.recv().unwrap();
            step(|| receiver.recv_timeout(LONGER).unwrap_err());
        },
        seen,
        outcomes: &[""],
        states: SLEPT,
        ..INSIDE
    },
    Case {
        name: "spsc iter",
        covers: &["spsc::Receiver::iter"],
        given: given::<2>,
        victim: |world| {
            let mut receiver = receiver(world);
            step(|| receiver.iter().take(2).count());
        },
        seen,
        outcomes: &["1 2", "2", ""],
        ..INSIDE
    },
    Case {
        name: "spsc try_read, dropped",
        covers: &["spsc::Receiver::try_read", "spsc::Items::iter", "spsc::Items::copy_to"],
        given: in_a_row::<2>,
        victim: |world| {
            let mut receiver = receiver(world);
            step(|| {
                let items = receiver.try_read(2).unwrap();
                items.copy_to(&mut [message(0); 2]);
                items.iter().count()
            });
        },
        seen,
        outcomes: &["1 2"],
        states: 1,
        ..INSIDE
    },
    Case {
        name: "spsc release",
        covers: &["spsc::Items::release", "spsc::Receiver::read_timeout"],
        given: in_a_row::<2>,
        peers: &[SENDER],
        victim: |world| {
            let mut receiver = receiver(world);
            let items = receiver.read_timeout(2, LONGER).unwrap();
            step(|| items.release());
        },
        seen,
        outcomes: &["1 2", ""],
        ..INSIDE
    },
    Case {
        name: "spsc release_first",
        covers: &["spsc::Items::release_first"],
        given: in_a_row::<2>,
        victim: |world| {
            let mut receiver = receiver(world);
            let items = receiver.try_read(2).unwrap();
            step(|| items.release_first(1));
        },
        seen,
        outcomes: &["1 2", "2"],
        ..INSIDE
    },
    Case {
        name: "spsc try_sender, fresh",
        covers: &["spsc::Ring::try_sender"],
        given: given::<1>,
        victim: |world| {
            let ring = ring(world);
            step(|| ring.try_sender().map(forget).unwrap());
        },
        seen: roles,
        outcomes: &["vacant vacant (1, 1)", "died vacant (2, 1)"],
        ..INSIDE
    },
    Case {
        name: "spsc try_receiver, fresh",
        covers: &["spsc::Ring::try_receiver"],
        given: given::<1>,
        victim: |world| {
            let ring = ring(world);
            step(|| ring.try_receiver().map(forget).unwrap());
        },
        seen: roles,
        outcomes: &["vacant vacant (1, 1)", "vacant died (1, 2)"],
        ..INSIDE
    },
    Case {
        name: "spsc roles taken over",
        covers: &["spsc::Ring::sender", "spsc::Ring::receiver"],
        given: of_the_dead,
        victim: |world| {
            let ring = ring(world);
            step(|| forget((ring.sender().unwrap(), ring.receiver().unwrap())));
        },
        seen: roles,
        outcomes: &["died died (2, 2)", "died died (3, 2)", "died died (3, 3)"],
        ..INSIDE
    },
    Case {
        name: "spsc roles reopened",
        covers: &["spsc::Ring::sender_timeout", "spsc::Ring::receiver_timeout"],
        given: closed,
        victim: |world| {
            let ring = ring(world);
            step(|| forget((ring.sender_timeout(LONGER).unwrap(), ring.receiver_timeout(LONGER).unwrap())));
        },
        seen: roles,
        outcomes: &["closed closed (2, 2)", "died closed (3, 2)", "died died (3, 3)"],
        ..INSIDE
    },
    Case {
        name: "spsc roles of the living",
        covers: &["spsc::Ring::sender_timeout", "spsc::Ring::receiver_timeout"],
        given: given::<1>,
        peers: &[HOLDS_SENDER, HOLDS_RECEIVER],
        victim: |world| {
            let ring = ring(world);
            step(|| (ring.sender_timeout(LONGER).unwrap_err(), ring.receiver_timeout(LONGER).unwrap_err()));
        },
        seen: roles,
        outcomes: &["died died (2, 2)"],
        states: 1,
        ..INSIDE
    },
    Case {
        name: "spsc sender closes",
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
        name: "spsc sender resigns",
        covers: &["spsc::Sender::resign"],
        given: given::<1>,
        victim: |world| {
            let sender = sender(world);
            step(|| sender.resign());
        },
        seen: roles,
        outcomes: &["died vacant (2, 1)", "vacant vacant (2, 1)"],
        ..INSIDE
    },
    Case {
        name: "spsc ends resign, others wait",
        covers: &["spsc::Ring::sender", "spsc::Ring::receiver"],
        given: given::<2>,
        peers: &[NEXT_SENDER, NEXT_RECEIVER],
        victim: |world| {
            let (sender, receiver) = (sender(world), receiver(world));
            step(|| (sender.resign(), receiver.resign()));
        },
        seen,
        outcomes: &["1 2"],
        ..INSIDE
    },
    Case {
        name: "spsc receiver closes",
        covers: &["spsc::Receiver::close"],
        given: given::<2>,
        peers: &[SENDER],
        victim: |world| {
            let receiver = receiver(world);
            step(|| receiver.close());
        },
        seen: roles,
        outcomes: &["died died (2, 2)", "died closed (2, 2)"],
        ..INSIDE
    },
    Case {
        name: "spsc receiver resigns",
        covers: &["spsc::Receiver::resign"],
        given: given::<2>,
        victim: |world| {
            let receiver = receiver(world);
            step(|| receiver.resign());
        },
        seen: roles,
        outcomes: &["vacant died (1, 2)", "vacant vacant (1, 2)"],
        ..INSIDE
    },
    Case {
        name: "spsc ends dropped",
        covers: &["spsc::Sender::drop", "spsc::Receiver::drop"],
        given: given::<1>,
        victim: |world| {
            let ends = (sender(world), receiver(world));
            step(|| drop(ends));
        },
        seen: roles,
        outcomes: &["died died (2, 2)", "closed died (2, 2)", "closed closed (2, 2)"],
        ..INSIDE
    },
    Case {
        name: "spsc sender panics",
        covers: &["spsc::Sender::drop"],
        given: given::<0>,
        peers: &[RECEIVER],
        victim: |world| step_unwinding(sender(world)),
        seen: roles,
        outcomes: &["died died (2, 2)"],
        ..INSIDE
    },
];
