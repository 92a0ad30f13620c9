//! Segments: made, attached to, swept, left, unlinked.

use std::os::unix::net::UnixStream;

use outlive::Segment;
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ring::spsc::Ring;
use outlive::segment::Options;
use outlive_kill::{Case, INSIDE, NAMED, Peer, Shape, Survivor, World, dies, forget, keep, step};

/// As all segments of these cases are.
fn options() -> Options {
    Segment::options().size(NAMED.shape.size).rows(NAMED.shape.rows)
}

fn object(segment: &Segment) -> Object<AtomicU64> {
    Object::open_or_create(segment, "o", || AtomicU64::new(7)).unwrap()
}

fn created(world: &World) {
    object(&options().create(world.address()).unwrap());
}

/// Two processes have died: one with roles, one with an object that has no name any more.
fn two_dead(world: &World) {
    drop(Ring::<u64>::create(&world.attach(), "r", 4).unwrap());
    let holds_roles = || {
        let ring = Ring::<u64>::open(&world.attach(), "r").unwrap();
        let mut sender = ring.try_sender().unwrap();
        sender.send(7).unwrap();
        forget((sender, ring.try_receiver().unwrap()));
    };
    let holds_an_object = || {
        let segment = world.attach();
        forget(object(&segment));
        segment.remove("o").unwrap();
        forget(segment);
    };
    for what in [&holds_roles as &dyn Fn(), &holds_an_object] {
        dies(what);
    }
}

/// How many dead there are.
fn dead(survivor: &Survivor<'_>) -> String {
    survivor.dead().to_string()
}

/// Whether there is a segment; if there is, it is complete.
fn there(survivor: &Survivor<'_>) -> String {
    let Some(segment) = survivor.segment() else { return "none".to_owned() };
    assert_eq!(object(segment).load(Ordering::SeqCst), 7);
    assert_eq!(segment.size(), NAMED.shape.size as u64);
    "there".to_owned()
}

/// What the dead of [`two_dead`] held.
fn held(survivor: &Survivor<'_>) -> String {
    let ring = Ring::<u64>::open(survivor, "r").unwrap();
    if survivor.is_swept() {
        assert_eq!(survivor.objects().unwrap().len(), 1, "an object without a name is kept");
        assert_eq!((ring.stats().sender, ring.stats().receiver), (None, None));
    }
    let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
    for number in 7..12 {
        assert_eq!(receiver.try_recv(), Ok(number));
        sender.try_send(number + 1).unwrap();
    }
    String::new()
}

const STAYS: Peer = Peer::Keeps(|world| keep(world.attach()));
/// Waits for the sender's role, which the dead have.
const NEXT_SENDER: Peer = Peer::Keeps(|world| keep(Ring::<u64>::open(&world.attach(), "r").unwrap()));

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "segment from_fd",
        covers: &["segment::Options::from_fd"],
        victim: |world| step(|| forget(world.attach())),
        seen: dead,
        outcomes: &["0", "1"],
        swept_away: true,
        ..INSIDE
    },
    Case {
        name: "segment attach",
        covers: &["segment::Segment::attach"],
        peers: &[STAYS],
        victim: |world| {
            let segment = world.attach();
            step(|| forget(segment.attach().unwrap()));
        },
        seen: dead,
        outcomes: &["2", "3"],
        swept_away: true,
        ..INSIDE
    },
    Case {
        name: "segment attach, every row is dead",
        covers: &["segment::Segment::attach"],
        given: two_dead,
        victim: |world| step(|| forget(world.attach())),
        seen: held,
        outcomes: &[""],
        shape: Shape { rows: 2, ..INSIDE.shape },
        ..INSIDE
    },
    Case {
        name: "segment receive_over",
        covers: &["segment::Segment::receive_over", "segment::Options::receive_over"],
        victim: |world| {
            let (here, there) = UnixStream::pair().unwrap();
            let segment = world.attach();
            segment.send_over(&there).unwrap();
            step(|| forget(Segment::receive_over(&here).unwrap()));
        },
        seen: dead,
        outcomes: &["1", "2"],
        swept_away: true,
        ..INSIDE
    },
    Case {
        name: "segment sweep",
        covers: &["segment::Segment::sweep"],
        given: two_dead,
        peers: &[NEXT_SENDER],
        victim: |world| {
            let segment = world.attach();
            step(|| segment.sweep().unwrap());
        },
        seen: held,
        outcomes: &[""],
        ..INSIDE
    },
    Case {
        name: "segment dropped",
        covers: &["segment::Segment::drop"],
        victim: |world| {
            let segment = world.attach();
            step(|| drop(segment));
        },
        seen: dead,
        outcomes: &["1", "0"],
        swept_away: true,
        ..INSIDE
    },
    Case {
        name: "segment dropped, something is open",
        covers: &["segment::Segment::drop"],
        victim: |world| {
            let segment = world.attach();
            let ring = Ring::<u64>::create(&segment, "r", 4).unwrap();
            let ends = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
            step(|| drop((segment, ends, ring)));
        },
        seen: dead,
        outcomes: &["1", "0"],
        swept_away: true,
        ..INSIDE
    },
    Case {
        name: "segment create",
        covers: &["segment::Segment::create", "segment::Options::create"],
        victim: |world| {
            let address = world.address();
            step(|| forget(options().create(address).unwrap()));
        },
        seen: there,
        outcomes: &["none", "there"],
        ..NAMED
    },
    Case {
        name: "segment open",
        covers: &["segment::Segment::open", "segment::Options::open"],
        given: created,
        victim: |world| {
            let address = world.address();
            step(|| forget(Segment::open(address).unwrap()));
        },
        seen: dead,
        outcomes: &["0", "1"],
        swept_away: true,
        ..NAMED
    },
    Case {
        name: "segment open_or_create, new",
        covers: &["segment::Segment::open_or_create", "segment::Options::open_or_create"],
        victim: |world| {
            let address = world.address();
            step(|| forget(options().open_or_create(address).unwrap()));
        },
        seen: there,
        outcomes: &["none", "there"],
        ..NAMED
    },
    Case {
        name: "segment open_or_create, old",
        covers: &["segment::Segment::open_or_create", "segment::Options::open_or_create"],
        given: created,
        victim: |world| {
            let address = world.address();
            step(|| forget(options().open_or_create(address).unwrap()));
        },
        seen: there,
        outcomes: &["there"],
        ..NAMED
    },
    Case {
        name: "segment unlink",
        covers: &["segment::Segment::unlink"],
        given: created,
        victim: |world| {
            let address = world.address();
            step(|| Segment::unlink(address).unwrap());
        },
        seen: there,
        outcomes: &["there", "none"],
        ..NAMED
    },
    Case {
        name: "segment withdraw",
        covers: &["segment::Segment::withdraw"],
        victim: |world| {
            let segment = options().create(world.address()).unwrap();
            object(&segment);
            step(|| segment.withdraw());
        },
        seen: there,
        outcomes: &["there", "none"],
        ..NAMED
    },
    Case {
        name: "segment create, temporary",
        covers: &["segment::Options::create"],
        victim: |world| {
            let address = world.address();
            step(|| forget(options().temporary(true).create(address).unwrap()));
        },
        seen: there,
        outcomes: &["none", "there"],
        ..NAMED
    },
    Case {
        name: "segment dropped, temporary, the last",
        covers: &["segment::Segment::drop"],
        victim: |world| {
            let segment = options().temporary(true).create(world.address()).unwrap();
            object(&segment);
            step(|| drop(segment));
        },
        seen: there,
        outcomes: &["there", "none"],
        ..NAMED
    },
];
