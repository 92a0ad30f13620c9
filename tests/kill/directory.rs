//! Objects by name: made, opened, removed; and links between them.

use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ptr::{AtomicOffset, Offset};
use outlive::ring::{records, spsc, stream};
use outlive::{Checked, Segment};
use outlive_kill::{Case, INSIDE, Peer, Survivor, World, dies, forget, keep, step};

type Words = Object<[AtomicU64; 4]>;

/// What every word holds from the beginning on.
const VALUE: u64 = 0x1234_5678_9abc_def0;

fn words() -> [AtomicU64; 4] {
    [VALUE; 4].map(AtomicU64::new)
}

fn create(segment: &Segment, name: &str) -> Words {
    Words::create(segment, name, words).unwrap()
}

fn one(world: &World) {
    create(&world.attach(), "a");
}

fn one_removed(world: &World) {
    let segment = world.attach();
    create(&segment, "first");
    create(&segment, "a");
    segment.remove("first").unwrap();
}

/// The entry of a dead creator, and what the dead have open.
fn of_the_dead(world: &World) {
    one(world);
    dies(|| {
        let segment = world.attach();
        forget((Words::open(&segment, "a").unwrap(), create(&segment, "b")));
        segment.remove("b").unwrap();
        forget(segment);
    });
}

/// What there is. All of it is complete, and nobody has it open; before a sweep the dead may, even what has no name any more.
fn seen(survivor: &Survivor<'_>) -> String {
    let mut names = Vec::new();
    for object in survivor.objects().unwrap() {
        if !survivor.is_swept() && object.name.is_empty() {
            continue;
        }
        assert!(object.openers == 0 || !survivor.is_swept(), "{object:?}");
        match object.kind.as_str() {
            "object" => {
                let words = Words::open(survivor, &object.name).unwrap();
                let values: Vec<u64> = words.iter().map(|word| word.load(Ordering::SeqCst)).collect();
                assert_eq!(values, [VALUE; 4], "half an object: {object:?}");
            }
            "spsc ring" => {
                let ring = spsc::Ring::<u64>::open(survivor, &object.name).unwrap();
                let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
                for number in 0..9 {
                    sender.try_send(number).unwrap();
                    assert_eq!(receiver.try_recv(), Ok(number));
                }
            }
            "records ring" => {
                let ring = records::Ring::<Checked>::open(survivor, &object.name).unwrap();
                let (mut sender, mut receiver) = (ring.try_sender().unwrap(), ring.try_receiver().unwrap());
                for _ in 0..9 {
                    sender.try_send(b"a record").unwrap();
                    assert_eq!(receiver.try_recv(&mut Vec::new()), Ok(8));
                }
            }
            "stream ring" => {
                let ring = stream::Ring::<Checked>::open(survivor, &object.name).unwrap();
                let (mut writer, mut reader) = (ring.try_writer().unwrap(), ring.try_reader().unwrap());
                for _ in 0..9 {
                    assert_eq!(writer.try_write(b"bytes"), Ok(5));
                    assert_eq!(reader.try_read(&mut [0; 9]), Ok(5));
                }
            }
            other => panic!("an object of kind {other}"),
        }
        names.push(object.name);
    }
    names.join(" ")
}

/// Where a link leads.
fn link_seen(survivor: &Survivor<'_>) -> String {
    let words = Words::open(survivor, "a").unwrap();
    let link = Object::<AtomicOffset<u64>>::open(survivor, "link").unwrap();
    let at = link.load(Ordering::SeqCst);
    if at == Offset::null() {
        return "null".to_owned();
    }
    assert_eq!(at.get(), words.offset().get());
    assert_eq!(survivor.resolve(at).unwrap().read(), VALUE);
    "linked".to_owned()
}

fn null_link(world: &World) {
    one(world);
    Object::<AtomicOffset<u64>>::create(&world.attach(), "link", AtomicOffset::default).unwrap();
}

const HOLDS_A: Peer = Peer::Keeps(|world| keep(Words::open(&world.attach(), "a").unwrap()));
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "object create",
        covers: &["object::Object::create"],
        given: one,
        victim: |world| {
            let segment = world.attach();
            step(|| create(&segment, "b"));
        },
        seen,
        outcomes: &["a", "a b"],
        ..INSIDE
    },
    Case {
        name: "object create, behind a removed one",
        covers: &["object::Object::open_or_create"],
        given: one_removed,
        victim: |world| {
            let segment = world.attach();
            step(|| Words::open_or_create(&segment, "b", words).map(forget).unwrap());
        },
        seen,
        outcomes: &["a", "b a"],
        ..INSIDE
    },
    Case {
        name: "object create, behind the dead",
        covers: &["object::Object::create"],
        given: of_the_dead,
        victim: |world| {
            let segment = world.attach();
            step(|| create(&segment, "b"));
        },
        seen,
        outcomes: &["a", "a b"],
        ..INSIDE
    },
    Case {
        name: "object open",
        covers: &["object::Object::open"],
        given: one,
        victim: |world| {
            let segment = world.attach();
            step(|| Words::open(&segment, "a").map(forget).unwrap());
        },
        seen,
        outcomes: &["a"],
        ..INSIDE
    },
    Case {
        name: "object dropped",
        covers: &["object::Object::drop"],
        given: one,
        victim: |world| {
            let words = Words::open(&world.attach(), "a").unwrap();
            step(|| drop(words));
        },
        seen,
        outcomes: &["a"],
        ..INSIDE
    },
    Case {
        name: "segment remove",
        covers: &["segment::Segment::remove"],
        given: one,
        victim: |world| {
            let segment = world.attach();
            step(|| segment.remove("a").unwrap());
        },
        seen,
        outcomes: &["a", ""],
        ..INSIDE
    },
    Case {
        name: "segment remove, others have it open",
        covers: &["segment::Segment::remove"],
        given: one,
        peers: &[HOLDS_A],
        victim: |world| {
            let segment = world.attach();
            let _open = Words::open(&segment, "a").unwrap();
            step(|| segment.remove("a").unwrap());
        },
        seen,
        outcomes: &["a", ""],
        ..INSIDE
    },
    Case {
        name: "spsc create",
        covers: &["spsc::Ring::create", "spsc::Ring::open_or_create"],
        given: one_removed,
        victim: |world| {
            let segment = world.attach();
            step(|| spsc::Ring::<u64>::open_or_create(&segment, "s", 4).map(forget).unwrap());
        },
        seen,
        outcomes: &["a", "s a"],
        ..INSIDE
    },
    Case {
        name: "spsc open and drop",
        covers: &["spsc::Ring::open"],
        given: |world| drop(spsc::Ring::<u64>::create(&world.attach(), "s", 4)),
        victim: |world| {
            let segment = world.attach();
            step(|| spsc::Ring::<u64>::open(&segment, "s").map(drop).unwrap());
        },
        seen,
        outcomes: &["s"],
        ..INSIDE
    },
    Case {
        name: "records create",
        covers: &["records::Ring::create", "records::Ring::open_or_create"],
        given: one,
        victim: |world| {
            let segment = world.attach();
            step(|| records::Ring::<Checked>::open_or_create(&segment, "r", 64).map(forget).unwrap());
        },
        seen,
        outcomes: &["a", "a r"],
        ..INSIDE
    },
    Case {
        name: "records open and drop",
        covers: &["records::Ring::open"],
        given: |world| drop(records::Ring::<Checked>::create(&world.attach(), "r", 64)),
        victim: |world| {
            let segment = world.attach();
            step(|| records::Ring::<Checked>::open(&segment, "r").map(drop).unwrap());
        },
        seen,
        outcomes: &["r"],
        ..INSIDE
    },
    Case {
        name: "stream create",
        covers: &["stream::Ring::create", "stream::Ring::open_or_create"],
        given: one,
        victim: |world| {
            let segment = world.attach();
            step(|| stream::Ring::<Checked>::open_or_create(&segment, "t", 64).map(forget).unwrap());
        },
        seen,
        outcomes: &["a", "a t"],
        ..INSIDE
    },
    Case {
        name: "stream open and drop",
        covers: &["stream::Ring::open"],
        given: |world| drop(stream::Ring::<Checked>::create(&world.attach(), "t", 64)),
        victim: |world| {
            let segment = world.attach();
            step(|| stream::Ring::<Checked>::open(&segment, "t").map(drop).unwrap());
        },
        seen,
        outcomes: &["t"],
        ..INSIDE
    },
    Case {
        name: "link stored",
        covers: &["ptr::AtomicOffset::store"],
        given: null_link,
        victim: |world| {
            let segment = world.attach();
            let link = Object::<AtomicOffset<u64>>::open(&segment, "link").unwrap();
            let to = Offset::new(Words::open(&segment, "a").unwrap().offset().get());
            step(|| link.store(to, Ordering::Release));
        },
        seen: link_seen,
        outcomes: &["null", "linked"],
        ..INSIDE
    },
    Case {
        name: "link exchanged",
        covers: &["ptr::AtomicOffset::compare_exchange"],
        given: null_link,
        victim: |world| {
            let segment = world.attach();
            let link = Object::<AtomicOffset<u64>>::open(&segment, "link").unwrap();
            let to = Offset::new(Words::open(&segment, "a").unwrap().offset().get());
            let order = Ordering::AcqRel;
            step(|| link.compare_exchange(Offset::null(), to, order, Ordering::Relaxed).unwrap());
        },
        seen: link_seen,
        outcomes: &["null", "linked"],
        ..INSIDE
    },
    Case {
        name: "place written",
        covers: &["ptr::Place::write"],
        given: null_link,
        victim: |world| {
            let segment = world.attach();
            let link = Object::<AtomicOffset<u64>>::open(&segment, "link").unwrap();
            let to = Words::open(&segment, "a").unwrap().offset().get();
            let place = segment.resolve(Offset::<u64>::new(link.offset().get())).unwrap();
            step(|| place.write(to).unwrap());
        },
        seen: link_seen,
        outcomes: &["null", "linked"],
        ..INSIDE
    },
];
