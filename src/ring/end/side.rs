//! Which of the two ends: they are mirror images.

use crate::ring::lease::Role;
use crate::sync::EventCount;

use super::header::{Header, Track};

/// Which of the two ends.
pub(in crate::ring) trait Side {
    /// Whether a peer that has closed ends this end at once (as a pipe without readers), or when it is drained.
    const ENDS_WITH_PEER: bool;
    fn own(header: &Header) -> &Track;
    fn peers(header: &Header) -> &Track;
    fn role(header: &Header) -> &Role;
    fn peer_role(header: &Header) -> &Role;
    /// Where this end sleeps.
    fn sleeps_on(header: &Header) -> &EventCount;
    /// Where its peer does.
    fn notifies(header: &Header) -> &EventCount;
    /// How far this end may go, as its peer is there.
    fn limit(peers: u64, capacity: u64) -> u64;
}

/// Writes `tail`.
#[derive(Debug)]
pub(in crate::ring) enum Sending {}

/// Writes `head`.
#[derive(Debug)]
pub(in crate::ring) enum Receiving {}

impl Side for Sending {
    const ENDS_WITH_PEER: bool = true;
    #[inline]
    fn own(header: &Header) -> &Track {
        &header.tail
    }
    #[inline]
    fn peers(header: &Header) -> &Track {
        &header.head
    }
    #[inline]
    fn role(header: &Header) -> &Role {
        &header.sender
    }
    #[inline]
    fn peer_role(header: &Header) -> &Role {
        &header.receiver
    }
    #[inline]
    fn sleeps_on(header: &Header) -> &EventCount {
        &header.space
    }
    #[inline]
    fn notifies(header: &Header) -> &EventCount {
        &header.items
    }
    #[inline]
    fn limit(peers: u64, capacity: u64) -> u64 {
        peers.wrapping_add(capacity)
    }
}

impl Side for Receiving {
    const ENDS_WITH_PEER: bool = false;
    #[inline]
    fn own(header: &Header) -> &Track {
        &header.head
    }
    #[inline]
    fn peers(header: &Header) -> &Track {
        &header.tail
    }
    #[inline]
    fn role(header: &Header) -> &Role {
        &header.receiver
    }
    #[inline]
    fn peer_role(header: &Header) -> &Role {
        &header.sender
    }
    #[inline]
    fn sleeps_on(header: &Header) -> &EventCount {
        &header.items
    }
    #[inline]
    fn notifies(header: &Header) -> &EventCount {
        &header.space
    }
    #[inline]
    fn limit(peers: u64, _capacity: u64) -> u64 {
        peers
    }
}
