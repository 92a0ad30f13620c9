//! Rings of records.

use core::mem::MaybeUninit;
use core::time::Duration;
use std::io::Write;

use outlive::error::RecvError;
use outlive::ring::records::{Receiver, Ring, Sender};
use outlive::{Checked, Trusted};
use outlive_kill::{Case, INSIDE, Peer, Shape, Survivor, World, dies, forget, keep, step, step_unwinding};

use super::told::told;

/// Too small to be mirrored.
const PLAIN: usize = 64;
/// A page: mapped twice, so that frames may cross its end.
const MIRRORED: usize = 4096;
/// Where a mirrored ring fits.
const LARGE: Case = Case { shape: Shape { size: 1 << 15, ..INSIDE.shape }, ..INSIDE };

/// Long enough to spin and then to fall asleep, step by step.
const LONGER: Duration = Duration::from_secs(3);
/// The states of an operation that announces its sleep, behind one that found nobody asleep and cleared what said so: one
/// more. Unoptimised, it spins all the time.
const SLEPT: usize = if cfg!(debug_assertions) { 1 } else { 2 };

fn ring(world: &World) -> Ring {
    Ring::open(&world.attach(), "r").unwrap()
}

fn sender(world: &World) -> Sender {
    ring(world).try_sender().unwrap()
}

fn receiver(world: &World) -> Receiver {
    ring(world).try_receiver().unwrap()
}

/// A ring through which so many bytes have gone (frames included), with these records; its ends have nobody.
fn given_behind(world: &World, capacity: usize, before: usize, records: &[&[u8]]) {
    let ring: Ring = Ring::create(&world.attach(), "r", capacity).unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    let mut left = before;
    while left > 0 {
        let frame = left.min(capacity / 4);
        sender.send(&vec![b'.'; frame - 8]).unwrap();
        receiver.recv(&mut Vec::new()).unwrap();
        left -= frame;
    }
    for record in records {
        sender.send(record).unwrap();
    }
    sender.resign();
    receiver.resign();
}

fn one_of_two(world: &World) {
    given_behind(world, PLAIN, 0, &[b"one"]);
}

fn both(world: &World) {
    given_behind(world, PLAIN, 0, &[b"one", b"a second one"]);
}

fn empty(world: &World) {
    given_behind(world, PLAIN, 0, &[]);
}

/// 48 bytes of 64 are used up, and free again: 24 do not fit before the end.
fn before_the_end(world: &World) {
    given_behind(world, PLAIN, 48, &[]);
}

/// The second record lies behind a pad.
fn around_the_end(world: &World) {
    given_behind(world, PLAIN, 32, &[b"eight...", b"at the beginning"]);
}

fn full(world: &World) {
    given_behind(world, PLAIN, 0, &[b"24 bytes of 32 in a ring", b"24 more bytes, and it is"]);
}

fn mirrored(world: &World) {
    given_behind(world, MIRRORED, 4096 - 16, &[]);
}

fn mirrored_with_one(world: &World) {
    given_behind(world, MIRRORED, 4096 - 16, &[b"around the end of the page"]);
}

fn of_the_dead(world: &World) {
    both(world);
    dies(|| forget((sender(world), receiver(world))));
}

fn drained(receiver: &mut Receiver) -> String {
    let (mut seen, mut record) = (Vec::new(), Vec::new());
    loop {
        record.clear();
        match receiver.try_recv(&mut record) {
            Ok(_) => seen.push(format!("<{}>", String::from_utf8_lossy(&record))),
            Err(RecvError::Empty | RecvError::Closed | RecvError::PeerDied(_)) => return seen.concat(),
            Err(fault) => panic!("{fault}"),
        }
    }
}

/// What is in it, and how many there were. Then it is filled and drained, as far as it goes.
fn seen(survivor: &Survivor<'_>) -> String {
    let ring: Ring = Ring::open(survivor, "r").unwrap();
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    let positions = (sender.position(), receiver.position());
    let seen = drained(&mut receiver);
    assert_eq!(receiver.position(), positions.0, "counts");
    assert_eq!(ring.stats().sent, ring.stats().received);
    for round in 0..3 {
        let smallest = ring.capacity() / 8;
        (0..smallest).for_each(|_| sender.try_send(b"").unwrap());
        assert!(sender.try_send(b"").is_err(), "more than fits");
        assert_eq!(drained(&mut receiver), "<>".repeat(smallest));
        let records = (0..).map(|number| format!("{round}{number:04}..")); // may have to be padded once
        let sent: Vec<String> =
            records.take_while(|record| sender.try_send(record.as_bytes()).is_ok()).collect();
        assert!(sent.len() + 1 >= ring.capacity() / 16, "less than fits: {}", sent.len());
        assert_eq!(drained(&mut receiver), format!("<{}>", sent.join("><")));
    }
    let long = vec![b'x'; ring.longest()];
    sender.try_send(&long).unwrap();
    assert_eq!(drained(&mut receiver).len(), long.len() + 2);
    sender.close();
    assert_eq!(receiver.try_recv(&mut Vec::new()), Err(RecvError::Closed));
    format!("{seen} {} {}", positions.0, positions.1)
}

/// What the roles say.
fn roles(survivor: &Survivor<'_>) -> String {
    let roles = told(survivor, Ring::<Checked>::open(survivor, "r").unwrap().stats());
    seen(survivor);
    roles
}

/// Waits for a record, and leaves it there.
const RECEIVER: Peer = Peer::Waits(|world| {
    let mut receiver = receiver(world);
    drop(receiver.read());
    forget(receiver);
});
/// Waits for room, and does not use it.
const SENDER: Peer = Peer::Waits(|world| {
    let mut sender = sender(world);
    drop(sender.reserve(8));
    forget(sender);
});
const NEXT_SENDER: Peer = Peer::Waits(|world| forget(ring(world).sender()));
const NEXT_RECEIVER: Peer = Peer::Waits(|world| forget(ring(world).receiver()));
const HOLDS_BOTH: Peer = Peer::Keeps(|world| keep((sender(world), receiver(world))));

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "records try_send",
        covers: &["records::Sender::try_send"],
        given: one_of_two,
        victim: |world| {
            let mut sender = sender(world);
            step(|| sender.try_send(b"two and more").unwrap());
        },
        seen,
        outcomes: &["<one> 1 0", "<one><two and more> 2 0"],
        ..INSIDE
    },
    Case {
        name: "records send, empty, to a sleeper",
        covers: &["records::Sender::send", "records::Receiver::read"],
        given: empty,
        peers: &[RECEIVER],
        victim: |world| {
            let mut sender = sender(world);
            step(|| sender.send(b"").unwrap());
        },
        seen,
        outcomes: &[" 0 0", "<> 1 0"],
        ..INSIDE
    },
    Case {
        name: "records send, behind a pad",
        covers: &["records::Sender::send"],
        given: before_the_end,
        victim: |world| {
            let mut sender = sender(world);
            step(|| sender.send(b"too long for the end").unwrap());
        },
        seen,
        outcomes: &[" 3 3", "<too long for the end> 4 3"],
        ..INSIDE
    },
    Case {
        name: "records send, crossing",
        covers: &["records::Sender::send"],
        given: mirrored,
        victim: |world| {
            let mut sender = sender(world);
            step(|| sender.send(b"around the end of the page").unwrap());
        },
        seen,
        outcomes: &[" 4 4", "<around the end of the page> 5 4"],
        ..LARGE
    },
    Case {
        name: "records send_timeout, full",
        covers: &["records::Sender::send_timeout"],
        given: full,
        victim: |world| {
            let (mut sender, mut receiver) = (sender(world), receiver(world));
            receiver.recv(&mut Vec::new()).unwrap();
            sender.send(b"a third one, which fits.").unwrap();
            step(|| sender.send_timeout(b"more", LONGER).unwrap_err());
        },
        seen,
        outcomes: &["<24 more bytes, and it is><a third one, which fits.> 3 1"],
        states: SLEPT,
        ..INSIDE
    },
    Case {
        name: "records commit, shrunk",
        covers: &[
            "records::Sender::try_reserve",
            "records::Grant::extend_from_slice",
            "records::Grant::commit",
        ],
        given: one_of_two,
        victim: |world| {
            let mut sender = sender(world);
            step(|| {
                let mut grant = sender.try_reserve(24).unwrap();
                grant.extend_from_slice(b"shrunk");
                grant.commit()
            });
        },
        seen,
        outcomes: &["<one> 1 0", "<one><shrunk> 2 0"],
        ..INSIDE
    },
    Case {
        name: "records grant, dropped",
        covers: &["records::Sender::reserve", "records::Sender::reserve_timeout", "records::Grant::write"],
        given: before_the_end,
        victim: |world| {
            let mut sender = sender(world);
            step(|| {
                sender.reserve(20).unwrap().write_all(b"nobody sees it").unwrap();
                sender.reserve_timeout(8, LONGER).unwrap().write_all(b"nor this").unwrap();
            });
        },
        seen,
        outcomes: &[" 3 3"],
        ..INSIDE
    },
    Case {
        name: "records grant in place",
        covers: &["records::Grant::as_mut_slice", "records::Grant::spare", "records::Grant::set_len"],
        given: mirrored,
        victim: |world| {
            // SAFETY: processes of this test only, which keep the protocol.
            let segment = unsafe { world.attach().trust() };
            let mut sender = Ring::<Trusted>::open(&segment, "r").unwrap().try_sender().unwrap();
            step(|| {
                let mut grant = sender.try_reserve(26).unwrap();
                grant.spare().fill(MaybeUninit::new(b'x'));
                // SAFETY: written above.
                unsafe { grant.set_len(26) };
                grant.as_mut_slice().copy_from_slice(b"around the end of the page");
                grant.commit()
            });
        },
        seen,
        outcomes: &[" 4 4", "<around the end of the page> 5 4"],
        ..LARGE
    },
    Case {
        name: "records try_recv",
        covers: &["records::Receiver::try_recv"],
        given: both,
        victim: |world| {
            let (mut receiver, mut record) = (receiver(world), Vec::with_capacity(64));
            step(|| receiver.try_recv(&mut record).unwrap());
        },
        seen,
        outcomes: &["<one><a second one> 2 0", "<a second one> 2 1"],
        ..INSIDE
    },
    Case {
        name: "records recv from a sleeper",
        covers: &["records::Receiver::recv"],
        given: full,
        peers: &[SENDER],
        victim: |world| {
            let mut receiver = receiver(world);
            step(|| receiver.recv(&mut Vec::new()).unwrap());
        },
        seen,
        outcomes: &[
            "<24 bytes of 32 in a ring><24 more bytes, and it is> 2 0",
            "<24 more bytes, and it is> 2 1",
        ],
        ..INSIDE
    },
    Case {
        name: "records recv_timeout, empty",
        covers: &["records::Receiver::recv_timeout"],
        given: empty,
        victim: |world| {
            let (mut sender, mut receiver) = (sender(world), receiver(world));
            sender.send(b"a record").unwrap();
            receiver.recv(&mut Vec::new()).unwrap();
            step(|| receiver.recv_timeout(&mut Vec::new(), LONGER).unwrap_err());
        },
        seen,
        outcomes: &[" 1 1"],
        states: SLEPT,
        ..INSIDE
    },
    Case {
        name: "records iter, behind a pad",
        covers: &["records::Receiver::iter"],
        given: around_the_end,
        victim: |world| {
            let mut receiver = receiver(world);
            step(|| receiver.iter().take(2).count());
        },
        seen,
        outcomes: &["<eight...><at the beginning> 4 2", "<at the beginning> 4 3", " 4 4"],
        ..INSIDE
    },
    Case {
        name: "records read, dropped",
        covers: &["records::Receiver::try_read", "records::Record::to_vec", "records::Record::copy_to"],
        given: both,
        victim: |world| {
            let mut receiver = receiver(world);
            step(|| {
                let record = receiver.try_read().unwrap();
                record.copy_to(&mut [0; 2]);
                record.to_vec()
            });
        },
        seen,
        outcomes: &["<one><a second one> 2 0"],
        states: 1,
        ..INSIDE
    },
    Case {
        name: "records release, crossing",
        covers: &["records::Record::release", "records::Receiver::read_timeout"],
        given: mirrored_with_one,
        victim: |world| {
            let mut receiver = receiver(world);
            let record = receiver.read_timeout(LONGER).unwrap();
            step(|| record.release());
        },
        seen,
        outcomes: &["<around the end of the page> 5 4", " 5 5"],
        ..LARGE
    },
    Case {
        name: "records roles, fresh",
        covers: &["records::Ring::try_sender", "records::Ring::try_receiver"],
        given: both,
        victim: |world| {
            let ring = ring(world);
            step(|| forget((ring.try_sender().unwrap(), ring.try_receiver().unwrap())));
        },
        seen: roles,
        outcomes: &["vacant vacant (1, 1)", "died vacant (2, 1)", "died died (2, 2)"],
        ..INSIDE
    },
    Case {
        name: "records roles taken over",
        covers: &["records::Ring::sender", "records::Ring::receiver"],
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
        name: "records roles of the living",
        covers: &["records::Ring::sender_timeout", "records::Ring::receiver_timeout"],
        given: both,
        peers: &[HOLDS_BOTH],
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
        name: "records sender closes",
        covers: &["records::Sender::close"],
        given: empty,
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
        name: "records receiver closes",
        covers: &["records::Receiver::close"],
        given: full,
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
        name: "records ends resign, others wait",
        covers: &["records::Sender::resign", "records::Receiver::resign", "records::Ring::sender"],
        given: both,
        peers: &[NEXT_SENDER, NEXT_RECEIVER],
        victim: |world| {
            let (sender, receiver) = (sender(world), receiver(world));
            step(|| (sender.resign(), receiver.resign()));
        },
        seen,
        outcomes: &["<one><a second one> 2 0"],
        ..INSIDE
    },
    Case {
        name: "records receiver panics",
        covers: &["records::Receiver::drop"],
        given: full,
        peers: &[SENDER],
        victim: |world| step_unwinding(receiver(world)),
        seen: roles,
        outcomes: &["died died (2, 2)"],
        ..INSIDE
    },
];
