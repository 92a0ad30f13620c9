//! What survivors find, and whether all of it can be used again.

use core::cell::RefCell;
use core::ops::Deref;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use memmap2::MmapMut;
use outlive::atomic::AtomicU64;
use outlive::object::Object;
use outlive::ring::{Stats, stream};
use outlive::{Error, Segment};

use super::case::Case;
use super::world::{Shape, World};

/// Who comes after the death: attached, and everything swept.
pub(crate) struct Survivor<'a> {
    pub(crate) world: &'a World,
    /// `None`: there is no segment.
    pub(crate) segment: Option<Segment>,
    /// How many dead there were.
    pub(crate) dead: usize,
}

impl Deref for Survivor<'_> {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        self.segment.as_ref().expect("there is a segment")
    }
}

thread_local! {
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
    static ROOM: RefCell<HashMap<Shape, (usize, usize)>> = RefCell::new(HashMap::new());
}

/// Failed assertions are findings: they are told with their case, and not at once.
pub(crate) fn listen_to_panics() {
    std::panic::set_hook(Box::new(|what| LAST_WORDS.set(what.to_string().replace('\n', " "))));
}

/// What the last failed assertion said.
pub(crate) fn last_words() -> String {
    LAST_WORDS.take()
}

/// What a survivor finds. Everything that it finds wrong is an error.
pub(crate) fn judge(case: &Case, world: &World) -> Result<String, String> {
    // A process that was forked maps where we would: take that place, so that survivors map elsewhere.
    let _in_the_way = MmapMut::map_anon(1 << 21).unwrap();
    let look = || {
        let survivor = Survivor::come(world);
        let outcome = (case.seen)(&survivor);
        all_can_be_used(case.shape, survivor);
        outcome
    };
    catch_unwind(AssertUnwindSafe(look)).map_err(|_| last_words())
}

impl<'a> Survivor<'a> {
    fn come(world: &'a World) -> Self {
        let segment = world.find();
        let Some(segment) = segment else { return Self { world, segment: None, dead: 0 } };
        let dead = segment.attachments().unwrap().iter().filter(|each| !each.alive).count();
        let swept = segment.sweep().unwrap();
        assert_eq!(swept.left, 0, "the sweep was not complete");
        let left = segment.attachments().unwrap();
        assert!(left.iter().all(|each| each.alive), "a dead attachment is left: {left:?}");
        nothing_overlaps(&segment, left.len());
        Self { world, segment: Some(segment), dead }
    }
}

/// What has become of both ends, and how many there were of each.
pub(crate) fn told(stats: Stats) -> String {
    assert_eq!((stats.sender, stats.receiver), (None, None), "a role of the dead is held");
    let told = |closed, died| match (closed, died) {
        (true, None) => "closed",
        (false, Some(_)) => "died",
        (false, None) => "vacant",
        (true, Some(_)) => unreachable!("closed by the dead"),
    };
    let sender = told(stats.sender_closed, stats.sender_died);
    let receiver = told(stats.receiver_closed, stats.receiver_died);
    format!("{sender} {receiver} {:?}", (stats.senders, stats.receivers))
}

fn nothing_overlaps(segment: &Segment, attached: usize) {
    let mut objects = segment.objects().unwrap();
    objects.sort_by_key(|object| object.at);
    let mut free_from = 0;
    for object in &objects {
        assert!(object.at >= free_from, "two objects in one place: {objects:?}");
        assert!(object.openers as usize <= attached, "opened by nobody: {objects:?}");
        free_from = object.at + object.size;
    }
    assert!(free_from <= segment.size(), "{objects:?}");
}

/// No row, no entry and no byte is lost: as many fit as into a fresh segment.
fn all_can_be_used(shape: Shape, survivor: Survivor<'_>) {
    let Survivor { world, segment, .. } = survivor;
    let make = || {
        let options = Segment::options().size(shape.size).rows(shape.rows);
        options.open_or_create(world.address()).expect("the name can be used again")
    };
    let segment = segment.unwrap_or_else(make);
    let fresh = ROOM.with_borrow_mut(|known| {
        *known.entry(shape).or_insert_with(|| room(&World::new(Shape { named: false, ..shape }).attach()))
    });
    for object in segment.objects().unwrap() {
        assert!(!object.name.is_empty(), "an object without a name is open: {object:?}");
        segment.remove(&object.name).unwrap();
    }
    assert_eq!(room(&segment), fresh, "objects that fit, now and into a fresh segment");
    let others: Vec<Segment> =
        (1..shape.rows).map(|_| segment.attach().expect("all rows can be had")).collect();
    assert!(matches!(segment.attach(), Err(Error::NoRow { .. })), "more rows than there were");
    drop(others);
    assert_eq!(segment.attachments().unwrap().len(), 1);
}

/// More do not fit into any segment here.
const MOST: u32 = 1000;

/// How many larger and then smaller objects fit.
fn room(segment: &Segment) -> (usize, usize) {
    let fits = |made: outlive::Result<()>| match made {
        Err(Error::NoSpace { .. }) => false,
        other => {
            other.unwrap();
            true
        }
    };
    let larger = (0..MOST)
        .take_while(|n| fits(stream::Ring::create(segment, &format!("l{n}"), 1).map(drop_it)))
        .count();
    let smaller = (0..MOST)
        .take_while(|n| fits(Object::create(segment, &format!("s{n}"), AtomicU64::default).map(|_| ())))
        .count();
    (larger, smaller)
}

fn drop_it(_: stream::Ring) {}
