//! How long to wait, and how.

/// What a blocking operation does while it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Spins for some ten microseconds (less, if that was in vain lately), then sleeps in the kernel until it is woken;
    /// looks after its peer before it sleeps, and between slices of 20 to 100 ms. For everybody.
    #[default]
    Sleep,
    /// Spins all the time: the shortest latency, and a core of its own.
    Spin,
    /// Gives the processor away again and again: for more threads than cores, where sleeping is too slow.
    Yield,
}
