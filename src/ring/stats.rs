//! How a ring looks from outside, whatever it carries.

use super::end::{Header, Track};
use super::lease::State;
use super::position::count;
use super::{Stats, Unit};
use crate::error::{Error, Result};
use crate::memory::Region;
use crate::segment::{Owner, Segment};

/// How full a ring is and who uses it, whatever kind of ring it is and whatever it carries.
///
/// For people and monitors: it takes no role, opens nothing, and changes nothing. All rings of a segment at once:
/// [`Segment::objects`]. The example is that of [`Stats`].
///
/// # Errors
/// `NotFound`; `WrongType` if the object is no ring, or of a kind that this build does not know; `Forked`, `Killed`,
/// `Corrupt`.
pub fn stats(segment: &Segment, name: &str) -> Result<Stats> {
    let object = segment.objects()?.into_iter().find(|object| !name.is_empty() && object.name == name);
    let Some(object) = object else {
        return Err(Error::NotFound { name: name.to_owned() });
    };
    object.stats.ok_or_else(|| Error::WrongType {
        name: name.to_owned(),
        expected: "a ring".to_owned(),
        found: object.kind,
    })
}

/// What `Kind::look` finds: a ring that claims to be of that magic and version, and of some capacity.
pub(super) fn look(
    region: &Region,
    at: u64,
    len: u64,
    magic_and_version: [u64; 2],
    unit: Unit,
) -> Option<Stats> {
    if len < size_of::<Header>() as u64 {
        return None;
    }
    let header = region.get::<Header>(at).ok()?;
    let claimed = [header.constant(0), header.constant(1)];
    (claimed == magic_and_version).then(|| of_header(region, at, unit, header.constant(2)))
}

/// Of the ring whose header lies at `at`.
pub(super) fn of_header(region: &Region, at: u64, unit: Unit, capacity: u64) -> Stats {
    let Ok(header) = region.get::<Header>(at) else {
        return Stats::of_none(); // whoever asks has seen it there, and the region does not shrink
    };
    let (head, tail) = (header.head.look(), header.tail.look());
    let counted = |track: &Track, position| match unit {
        // The mark is gone when the end has moved twice since the look.
        Unit::Records => (0..9).find_map(|_| track.count_at(track.look())).unwrap_or(0),
        Unit::Messages | Unit::Bytes => count(position),
    };
    let received = counted(&header.head, head); // before those that were sent: of which there are never fewer
    let sent = counted(&header.tail, tail);
    let [sending, receiving] = [header.sender.look(), header.receiver.look()];
    let died = |state| match state {
        Some(State::Died(owner)) => Some(owner),
        _ => None::<Owner>,
    };
    Stats {
        unit,
        capacity,
        depth: tail.wrapping_sub(head).min(capacity),
        sent,
        received,
        sender: sending.holder(),
        receiver: receiving.holder(),
        sender_closed: sending.state() == Some(State::Closed),
        receiver_closed: receiving.state() == Some(State::Closed),
        sender_died: died(sending.state()),
        receiver_died: died(receiving.state()),
        senders: sending.epoch(),
        receivers: receiving.epoch(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::ring::{Unit, spsc};
    use crate::{Error, Segment, testing};

    use super::stats;

    #[test]
    fn a_look_by_name_is_the_handles_own() {
        let segment = Segment::heap(1 << 16).unwrap();
        let ring = spsc::Ring::<u32>::create(&segment, "r", 8).unwrap();
        let mut sender = ring.try_sender().unwrap();
        for number in 0..5 {
            sender.send(number).unwrap();
        }
        ring.try_receiver().unwrap().recv().unwrap();
        let seen = stats(&segment, "r").unwrap();
        assert_eq!(seen, ring.stats());
        assert_eq!((seen.unit, seen.capacity, seen.depth), (Unit::Messages, 8, 4));
        assert_eq!((seen.sent, seen.received, seen.senders, seen.receivers), (5, 1, 1, 1));
        assert_eq!((seen.sender, seen.sender_closed), (Some(segment.owner()), false));
        assert_eq!((seen.receiver, seen.receiver_closed), (None, true));
    }

    #[test]
    fn a_ring_without_a_name_is_listed_only() {
        let segment = Segment::heap(1 << 16).unwrap();
        for name in ["", "r", "a/b"] {
            assert!(matches!(stats(&segment, name), Err(Error::NotFound { .. })), "{name:?}");
        }
        let ring = spsc::Ring::<u32>::create(&segment, "r", 8).unwrap();
        segment.remove("r").unwrap();
        assert!(matches!(stats(&segment, ""), Err(Error::NotFound { .. })));
        assert_eq!(segment.objects().unwrap()[0].stats, Some(ring.stats()));
    }

    #[test]
    fn the_dead_are_named_before_and_after_a_sweep() {
        let segment = Segment::heap(1 << 16).unwrap();
        let other = segment.attach().unwrap();
        let dead = spsc::Ring::<u32>::create(&other, "r", 8).unwrap().try_sender().unwrap();
        testing::kill(&other).unwrap();
        for swept in [0, 1] {
            let seen = stats(&segment, "r").unwrap();
            let (now, noted) =
                if swept == 0 { (Some(other.owner()), None) } else { (None, Some(other.owner())) };
            assert_eq!((seen.sender, seen.sender_died, seen.sender_closed), (now, noted, false));
            assert!(segment.is_dead(other.owner()));
            assert_eq!(segment.sweep().unwrap().recovered, 1 - swept);
        }
        drop(dead);
    }
}
