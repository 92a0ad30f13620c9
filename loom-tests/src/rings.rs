//! Processes with a ring: what the models of all rings begin with.

use outlive::error::RecvError;
use outlive::{Error, Segment};

/// A kind of ring, as its models use it.
pub trait Kind {
    /// The ring.
    type Ring;
    /// Who fills it.
    type Sender;
    /// Who empties it.
    type Receiver;

    /// Makes the ring `r`.
    ///
    /// # Errors
    /// Those of the ring.
    fn create(segment: &Segment, capacity: usize) -> Result<Self::Ring, Error>;

    /// Opens the ring `r`.
    ///
    /// # Errors
    /// Those of the ring.
    fn open(segment: &Segment) -> Result<Self::Ring, Error>;

    /// Takes one role.
    ///
    /// # Errors
    /// Those of the ring.
    fn sender(ring: &Self::Ring) -> Result<Self::Sender, Error>;

    /// Takes the other one.
    ///
    /// # Errors
    /// Those of the ring.
    fn receiver(ring: &Self::Ring) -> Result<Self::Receiver, Error>;
}

/// Two processes with a ring of the first: the second one sends, the first one receives.
pub type Pair<K> = ([Segment; 2], <K as Kind>::Ring, <K as Kind>::Sender, <K as Kind>::Receiver);

/// So many processes, and not one row more.
///
/// # Panics
/// If they cannot attach.
#[must_use]
pub fn processes<const N: usize>() -> [Segment; N] {
    let rows = u16::try_from(N).expect("a few");
    let first = Segment::options().rows(rows).heap().expect("a few rows are a small segment");
    let others: Vec<_> = (1..N).map(|_| first.attach().expect("a row for each")).collect();
    let mut all = core::iter::once(first).chain(others);
    std::array::from_fn(|_| all.next().expect("N of them"))
}

/// So many processes, with a ring of the first.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn ring<K: Kind, const N: usize>(capacity: usize) -> ([Segment; N], K::Ring) {
    let all = processes();
    let ring = K::create(&all[0], capacity).expect("room for one ring");
    (all, ring)
}

/// A sender there and a receiver here.
///
/// # Panics
/// If a role is not free.
#[must_use]
pub fn pair<K: Kind>(capacity: usize) -> Pair<K> {
    let (all, ring) = ring::<K, 2>(capacity);
    let sender = K::open(&all[1]).and_then(|ring| K::sender(&ring)).expect("nobody sends yet");
    let receiver = K::receiver(&ring).expect("nobody receives yet");
    (all, ring, sender, receiver)
}

/// Everything that `receive` gives, from number `from` on; `follows` says what comes after a number, if what was
/// received is what it has to be.
pub fn drain<T>(
    mut receive: impl FnMut() -> Result<T, RecvError>,
    mut from: u64,
    mut follows: impl FnMut(u64, T) -> u64,
) -> u64 {
    while let Ok(found) = receive() {
        from = follows(from, found);
    }
    from
}
