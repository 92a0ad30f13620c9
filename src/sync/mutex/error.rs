//! Why a lock was not taken, or was taken in disorder.

use core::fmt;

use super::guard::Inconsistent;
use crate::error::{Error, Fault};
use crate::payload::Payload;
use crate::segment::Owner;
use crate::sync::Refused;
use crate::trust::{Checked, Trust};

/// Why [`Mutex::lock`](super::Mutex::lock) returned no guard.
#[non_exhaustive]
pub enum LockError<'a, T: Payload<M>, M: Trust = Checked> {
    /// It is locked; but whoever had it last died, or panicked, inside: put the value in order.
    OwnerDied(Inconsistent<'a, T, M>),
    /// Held by this living attachment within the time given.
    Held(Owner),
    /// This very thread has it.
    Deadlock,
    /// Somebody gave it up: remove it, and make it anew.
    NotRecoverable,
    /// The handle cannot go on.
    Fault(Fault),
}

impl<T: Payload<M>, M: Trust> From<Refused> for LockError<'_, T, M> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Held(owner) => Self::Held(owner),
            Refused::Deadlock => Self::Deadlock,
            Refused::NotRecoverable => Self::NotRecoverable,
            Refused::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl<T: Payload<M>, M: Trust> From<LockError<'_, T, M>> for Error {
    /// The lock is given back, if it was taken: the next locker is told as well.
    fn from(error: LockError<'_, T, M>) -> Self {
        match error {
            LockError::OwnerDied(inconsistent) => Self::OwnerDied { owner: inconsistent.owner() },
            LockError::Held(owner) => Self::Busy { owner },
            LockError::Deadlock => Self::Deadlock,
            LockError::NotRecoverable => Self::NotRecoverable,
            LockError::Fault(fault) => fault.into(),
        }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Debug for LockError<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(inconsistent) => f.debug_tuple("OwnerDied").field(&inconsistent.owner()).finish(),
            Self::Held(owner) => f.debug_tuple("Held").field(owner).finish(),
            Self::Deadlock => f.write_str("Deadlock"),
            Self::NotRecoverable => f.write_str("NotRecoverable"),
            Self::Fault(fault) => f.debug_tuple("Fault").field(fault).finish(),
        }
    }
}

impl<T: Payload<M>, M: Trust> fmt::Display for LockError<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(inconsistent) => Error::OwnerDied { owner: inconsistent.owner() }.fmt(f),
            Self::Held(owner) => Error::Busy { owner: *owner }.fmt(f),
            Self::Deadlock => Error::Deadlock.fmt(f),
            Self::NotRecoverable => Error::NotRecoverable.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl<T: Payload<M>, M: Trust> std::error::Error for LockError<'_, T, M> {}
