//! What survivors find, and whether all of it can be used again.

use core::cell::RefCell;
use core::ops::Deref;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use memmap2::MmapMut;
use outlive::atomic::AtomicU64;
use outlive::object::Object;
use outlive::ring::stream;
use outlive::{Error, Segment, inspect};

use crate::case::Case;
use crate::world::{Shape, World};

/// Who comes after the death: attached, at another address than the dead, and everything recovered.
///
/// It dereferences to its segment.
#[derive(Debug)]
pub struct Survivor<'a> {
    world: &'a World,
    segment: Option<Segment>,
    dead: usize,
    swept: bool,
}

impl Deref for Survivor<'_> {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        self.segment.as_ref().expect("there is a segment")
    }
}

/// When outlive's own structures are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Before anybody looks.
    First,
    /// When all was seen: whoever needs what the dead hold takes it over.
    Last,
}

thread_local! {
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
    static ROOM: RefCell<HashMap<Shape, (usize, usize)>> = RefCell::new(HashMap::new());
}

/// Failed assertions are findings meanwhile: they are told with their case, and not at once.
pub(crate) fn hearing_panics(work: impl FnOnce()) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|what| LAST_WORDS.set(what.to_string().replace('\n', " "))));
    work();
    std::panic::set_hook(before);
}

/// What the last failed assertion said.
pub(crate) fn last_words() -> String {
    LAST_WORDS.take()
}

/// What a survivor finds. Everything that it finds wrong is an error.
pub(crate) fn judge(case: &Case, world: &World, sweep: Sweep) -> Result<String, String> {
    // A process that was forked maps where we would: take that place, so that survivors map elsewhere.
    let _in_the_way = MmapMut::map_anon(1 << 21).expect("2 MiB");
    let look = || {
        let mut survivor = Survivor::come(world);
        if sweep == Sweep::First {
            survivor.sweep();
        }
        if let Some(segment) = &survivor.segment {
            (case.recover)(segment);
        }
        let outcome = (case.seen)(&survivor);
        survivor.sweep();
        all_can_be_used(case.shape, survivor);
        outcome
    };
    catch_unwind(AssertUnwindSafe(look)).map_err(|_| last_words())
}

impl<'a> Survivor<'a> {
    fn come(world: &'a World) -> Self {
        let segment = world.find();
        let dead = segment.as_ref().map_or(0, |segment| {
            let report = inspect::check(segment);
            assert!(report.is_sound(), "what the dead have left is broken: {report}");
            dead_of(segment)
        });
        Self { world, segment, dead, swept: false }
    }

    fn sweep(&mut self) {
        self.swept = true;
        let Some(segment) = &self.segment else { return };
        let swept = segment.sweep().expect("whoever comes can sweep");
        assert_eq!((swept.left, dead_of(segment)), (0, 0), "the sweep was not complete");
        let report = inspect::check(segment);
        assert!(report.findings.is_empty(), "the sweep has left something: {report}");
    }

    /// Where the segment is.
    pub fn world(&self) -> &World {
        self.world
    }

    /// The segment. `None`: there is none under its name.
    pub fn segment(&self) -> Option<&Segment> {
        self.segment.as_ref()
    }

    /// How many dead there were.
    pub fn dead(&self) -> usize {
        self.dead
    }

    /// Whether everything was swept before: nothing of outlive's is held by the dead any more.
    pub fn is_swept(&self) -> bool {
        self.swept
    }
}

fn dead_of(segment: &Segment) -> usize {
    let all = segment.attachments().expect("attachments can be listed");
    all.iter().filter(|each| !each.alive).count()
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
    for object in segment.objects().expect("objects can be listed") {
        assert!(!object.name.is_empty(), "an object without a name is open: {object:?}");
        segment.remove(&object.name).expect("an object can be removed");
    }
    assert_eq!(room(&segment), fresh, "objects that fit, now and into a fresh segment");
    let others: Vec<Segment> =
        (1..shape.rows).map(|_| segment.attach().expect("all rows can be had")).collect();
    assert!(matches!(segment.attach(), Err(Error::NoRow { .. })), "more rows than there were");
    drop(others);
    assert_eq!(segment.attachments().map_or(0, |all| all.len()), 1, "only we are attached");
    let report = inspect::check(&segment);
    assert!(report.findings.is_empty(), "broken by using it: {report}");
}

/// More do not fit into any segment here.
const MOST: u32 = 1000;

/// How many larger and then smaller objects fit.
fn room(segment: &Segment) -> (usize, usize) {
    let fits = |made: outlive::Result<()>| match made {
        Err(Error::NoSpace { .. }) => false,
        other => {
            other.expect("an object can be made");
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
