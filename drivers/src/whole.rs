//! What an actor does with a segment as a whole.

use arbitrary::Arbitrary;
use outlive::ptr::Offset;
use outlive::{Error, Segment, inspect, ring};

use crate::{Act, Actor, ObjectsAct, RecordsAct, SpscAct, StreamAct};

/// Something that a user may do with a segment as a whole.
#[derive(Arbitrary, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "they are named as the calls that they make")]
pub enum WholeAct {
    Attachments,
    Objects,
    Stats,
    Sweep,
    Flush,
    Check,
    Snapshot,
    Observe,
}

/// Whatever the memory holds: an answer or an error.
pub(crate) fn attempt(segment: &Segment, act: WholeAct) -> Result<(), Error> {
    match act {
        WholeAct::Attachments => {
            let attachments = segment.attachments()?;
            for attachment in &attachments {
                let _ = segment.is_dead(attachment.owner);
            }
            assert!(!format!("{attachments:?} {:?}", segment.owner()).is_empty());
        }
        WholeAct::Objects => {
            let objects = segment.objects()?;
            assert!(!format!("{objects:?}").is_empty());
        }
        WholeAct::Stats => {
            let info = segment.info()?;
            assert!(info.size == segment.size() && info.objects_at <= info.size);
            for name in ["ring", "records", "stream", "object"] {
                let _ = ring::stats(segment, name);
            }
        }
        WholeAct::Sweep => drop(segment.sweep()?),
        WholeAct::Flush => segment.flush()?,
        WholeAct::Check => check(segment),
        WholeAct::Snapshot => {
            let copy = segment.snapshot()?;
            check(&copy);
            outlive::testing::kill(&copy.attach()?)?;
            copy.sweep()?;
        }
        WholeAct::Observe => observe(segment)?,
    }
    Ok(())
}

fn check(segment: &Segment) {
    let report = inspect::check(segment);
    assert_eq!(report.to_string().lines().count(), report.findings.len() + 1);
}

/// Looks through an attachment that cannot write.
fn observe(segment: &Segment) -> Result<(), Error> {
    let Some(fd) = segment.as_fd() else { return Ok(()) };
    let fd = fd.try_clone_to_owned().map_err(|source| Error::Os { call: "dup", source })?;
    let mut observer = Actor::new(Segment::options().read_only(true).from_fd(fd)?);
    for act in [
        Act::Spsc(SpscAct::Open),
        Act::Spsc(SpscAct::Look),
        Act::Records(RecordsAct::Open),
        Act::Records(RecordsAct::Look),
        Act::Stream(StreamAct::Open),
        Act::Stream(StreamAct::Look),
    ] {
        observer.act(act);
    }
    for act in [
        Act::Spsc(SpscAct::TryReceiver),
        Act::Records(RecordsAct::TrySender),
        Act::Stream(StreamAct::TryReader),
        Act::Objects(ObjectsAct::OpenOrCreate),
        Act::Objects(ObjectsAct::Remove),
        Act::Whole(WholeAct::Sweep),
    ] {
        // A role is for whoever has opened the ring; without one there is nothing to refuse.
        let refused = observer.try_act(act);
        assert!(
            refused.is_err() || matches!(act, Act::Spsc(_) | Act::Records(_) | Act::Stream(_)),
            "{act:?}"
        );
    }
    let seen = observer.segment();
    for object in seen.objects()? {
        if let Ok(place) = seen.resolve(Offset::<u64>::new(object.at)) {
            let _ = place.read();
            assert!(place.write(0).is_err(), "an observer stores nothing");
        }
    }
    check(seen);
    Ok(())
}
