//! Errors: rich where things are set up, small where they run; all convert to [`Error`] by `?`.
//!
//! * [`Error`] is what constructors, directories and roles return. It carries names and sizes.
//! * [`SendError`], [`RecvError`] and [`Fault`] are what operations return. They are small, and a refused
//!   value comes back in them.
//!
//! `Full`, `Empty` and `Held` mean *still so within the time given*, in `try_` and `_timeout` forms alike.

use core::fmt;
use std::io;

use crate::Owner;

/// The result of everything that sets things up.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What can go wrong, with what was expected, what was found, and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no segment, or no object, of this name. Create it, or wait for whoever does.
    NotFound {
        /// The address or name that was looked for.
        name: String,
    },
    /// `create` met a segment or object of this name: `open` it, or `open_or_create`.
    AlreadyExists {
        /// The address or name that is taken.
        name: String,
    },
    /// The address does not parse, or names something that cannot be a segment.
    InvalidAddress {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An object's name must have 1 to 47 bytes of UTF-8, without NUL and `/`.
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// An option or size that cannot be met.
    InvalidConfig {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The object exists, but is of another kind or has another payload type.
    WrongType {
        /// The object's name.
        name: String,
        /// What the caller asked for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The object exists, but has another capacity or shape.
    WrongShape {
        /// The object's name.
        name: String,
        /// What the caller asked for.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Not a segment of ours, or of another layout version, or damaged in its constant part.
    Foreign {
        /// What the field had to be.
        expected: String,
        /// What it was.
        found: String,
    },
    /// Not enough space: in the file system at creation, or in the segment for a new object.
    NoSpace {
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// Every row of the attachment table belongs to a living process.
    NoRow {
        /// How many rows the segment has (`Options::rows` when it was created).
        rows: u32,
    },
    /// The role, or the directory, is held by a living process.
    Busy {
        /// Who holds it.
        owner: Owner,
    },
    /// The operating system refuses access: wrong user, mode, or sealed.
    Denied {
        /// What was refused.
        what: String,
    },
    /// This kernel, file system or descriptor cannot do it.
    Unsupported {
        /// What is missing.
        what: &'static str,
    },
    /// A system call failed for another reason.
    Os {
        /// The call.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// No room within the time given.
    Full,
    /// The record is longer than any that this ring takes from this handle: make a larger ring, or send it in parts.
    TooLarge {
        /// The longest record, in bytes.
        longest: u64,
    },
    /// No message within the time given.
    Empty,
    /// The peer has closed its role, or its end of the socket; everything it sent has been received.
    Closed,
    /// The peer died and no successor has come; everything it sent has been received.
    PeerDied {
        /// Who died.
        owner: Owner,
    },
    /// Whoever had the lock died, or panicked, while it changed what the lock protects: put it in order, or give it up.
    OwnerDied {
        /// Who it was, if that can be told.
        owner: Option<Owner>,
    },
    /// The lock was given up after its owner had died inside: remove the object, and make it anew.
    NotRecoverable,
    /// This thread has the lock already.
    Deadlock,
    /// A lossy reader was overtaken.
    Missed {
        /// How many messages it missed.
        count: u64,
    },
    /// The segment's bytes contradict the protocol. Final for this handle, and private to it.
    Corrupt {
        /// Which invariant does not hold.
        what: &'static str,
        /// At which offset in the segment.
        at: u64,
    },
    /// This attachment is read-only.
    ReadOnly,
    /// This handle was inherited through `fork`; the child must `attach()` for itself.
    Forked,
    /// This attachment was declared dead by `testing::kill`.
    Killed,
}

impl Error {
    /// An `Os` error of the named call, from `errno`.
    pub(crate) fn os(call: &'static str, source: io::Error) -> Self {
        Self::Os { call, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name } => write!(f, "`{name}` does not exist: create it first"),
            Self::AlreadyExists { name } => write!(f, "`{name}` exists already: open it, or remove it first"),
            Self::InvalidAddress { address, why } => write!(f, "`{address}` is not an address: {why}"),
            Self::InvalidName { name } => {
                write!(f, "`{name}` is not a name: 1 to 47 bytes of UTF-8, without NUL and `/`")
            }
            Self::InvalidConfig { why } => write!(f, "invalid configuration: {why}"),
            Self::WrongType { name, expected, found } => {
                write!(f, "`{name}` is of another type: expected {expected}, found {found}")
            }
            Self::WrongShape { name, expected, found } => {
                write!(f, "`{name}` has another shape: expected {expected}, found {found}")
            }
            Self::Foreign { expected, found } => {
                write!(f, "not a segment that this version can use: expected {expected}, found {found}")
            }
            Self::NoSpace { needed, available } => {
                write!(f, "not enough space: {needed} bytes needed, {available} available")
            }
            Self::NoRow { rows } => write!(
                f,
                "all {rows} attachment rows belong to living processes: create the segment with more rows"
            ),
            Self::Busy { owner } => write!(f, "held by {owner}, which is alive"),
            Self::Denied { what } => write!(f, "permission denied: {what}"),
            Self::Unsupported { what } => write!(f, "not supported here: {what}"),
            Self::Os { call, source } => write!(f, "{call}: {source}"),
            Self::Full => f.write_str("full"),
            Self::TooLarge { longest } => {
                write!(f, "too large: the longest record that this ring takes has {longest} bytes")
            }
            Self::Empty => f.write_str("empty"),
            Self::Closed => f.write_str("the peer has closed"),
            Self::PeerDied { owner } => write!(f, "the peer, {owner}, died"),
            Self::OwnerDied { owner: Some(owner) } => {
                write!(f, "{owner} died or panicked while it had the lock")
            }
            Self::OwnerDied { owner: None } => f.write_str("somebody died or panicked while it had the lock"),
            Self::NotRecoverable => f.write_str("the lock was given up after its owner died: make it anew"),
            Self::Deadlock => f.write_str("this thread has the lock already"),
            Self::Missed { count } => write!(f, "{count} messages missed"),
            Self::Corrupt { what, at } => write!(f, "corrupt segment, at byte {at}: {what}"),
            Self::ReadOnly => f.write_str("this attachment is read-only"),
            Self::Forked => {
                f.write_str("this handle was inherited through fork: call `Segment::attach` in the child")
            }
            Self::Killed => f.write_str("this attachment was declared dead by `testing::kill`"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use io::ErrorKind as Kind;
        let kind = match &error {
            Error::Os { source, .. } => {
                return match source.raw_os_error() {
                    Some(code) => Self::from_raw_os_error(code),
                    None => Self::new(source.kind(), error),
                };
            }
            Error::NotFound { .. } => Kind::NotFound,
            Error::AlreadyExists { .. } => Kind::AlreadyExists,
            Error::InvalidAddress { .. }
            | Error::InvalidName { .. }
            | Error::InvalidConfig { .. }
            | Error::TooLarge { .. } => Kind::InvalidInput,
            Error::WrongType { .. }
            | Error::WrongShape { .. }
            | Error::Foreign { .. }
            | Error::Corrupt { .. } => Kind::InvalidData,
            Error::NoSpace { .. } => Kind::StorageFull,
            Error::NoRow { .. } | Error::Busy { .. } => Kind::ResourceBusy,
            Error::Denied { .. } => Kind::PermissionDenied,
            Error::Unsupported { .. } => Kind::Unsupported,
            Error::Full | Error::Empty => Kind::WouldBlock,
            Error::Closed | Error::PeerDied { .. } => Kind::BrokenPipe,
            Error::ReadOnly => Kind::ReadOnlyFilesystem,
            Error::Deadlock => Kind::Deadlock,
            Error::OwnerDied { .. }
            | Error::NotRecoverable
            | Error::Missed { .. }
            | Error::Forked
            | Error::Killed => Kind::Other,
        };
        Self::new(kind, error)
    }
}

/// Why a handle cannot go on. It is the small form of the same cases of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The segment's bytes contradict the protocol. Final for this handle, and private to it.
    Corrupt {
        /// Which invariant does not hold.
        what: &'static str,
        /// At which offset in the segment.
        at: u64,
    },
    /// This attachment is read-only.
    ReadOnly,
    /// This handle was inherited through `fork`; the child must `attach()` for itself.
    Forked,
    /// This attachment was declared dead by `testing::kill`.
    Killed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::from(*self).fmt(f)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Corrupt { what, at } => Self::Corrupt { what, at },
            Fault::ReadOnly => Self::ReadOnly,
            Fault::Forked => Self::Forked,
            Fault::Killed => Self::Killed,
        }
    }
}

/// Why a message was not sent. The message comes back in it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T = ()> {
    /// No room within the time given.
    Full(T),
    /// Longer than any record that the ring takes from this handle: the longest one has so many bytes.
    TooLarge(T, u64),
    /// The receiver has closed.
    Closed(T),
    /// The ring is full and its receiver is dead: [`Owner`] tells which.
    PeerDied(T, Owner),
    /// The handle cannot go on.
    Fault(T, Fault),
}

impl<T> SendError<T> {
    /// The message that was refused.
    pub fn into_value(self) -> T {
        match self {
            Self::Full(value)
            | Self::TooLarge(value, _)
            | Self::Closed(value)
            | Self::PeerDied(value, _)
            | Self::Fault(value, _) => value,
        }
    }

    /// The same reason, with another value.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> SendError<U> {
        match self {
            Self::Full(value) => SendError::Full(f(value)),
            Self::TooLarge(value, longest) => SendError::TooLarge(f(value), longest),
            Self::Closed(value) => SendError::Closed(f(value)),
            Self::PeerDied(value, owner) => SendError::PeerDied(f(value), owner),
            Self::Fault(value, fault) => SendError::Fault(f(value), fault),
        }
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Full(_) => Self::Full,
            SendError::TooLarge(_, longest) => Self::TooLarge { longest },
            SendError::Closed(_) => Self::Closed,
            SendError::PeerDied(_, owner) => Self::PeerDied { owner },
            SendError::Fault(_, fault) => fault.into(),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::TooLarge(_, longest) => write!(f, "TooLarge(.., {longest})"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::PeerDied(_, owner) => write!(f, "PeerDied(.., {owner:?})"),
            Self::Fault(_, fault) => write!(f, "Fault(.., {fault:?})"),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => Error::Full.fmt(f),
            Self::TooLarge(_, longest) => Error::TooLarge { longest: *longest }.fmt(f),
            Self::Closed(_) => Error::Closed.fmt(f),
            Self::PeerDied(_, owner) => Error::PeerDied { owner: *owner }.fmt(f),
            Self::Fault(_, fault) => fault.fmt(f),
        }
    }
}

impl<T> std::error::Error for SendError<T> {}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// No message within the time given.
    Empty,
    /// The sender has closed, and everything it sent has been received.
    Closed,
    /// The sender died, and everything it committed has been received.
    PeerDied(Owner),
    /// A lossy reader was overtaken by this many messages.
    Missed(u64),
    /// The handle cannot go on.
    Fault(Fault),
}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Empty => Self::Empty,
            RecvError::Closed => Self::Closed,
            RecvError::PeerDied(owner) => Self::PeerDied { owner },
            RecvError::Missed(count) => Self::Missed { count },
            RecvError::Fault(fault) => fault.into(),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::from(*self).fmt(f)
    }
}

impl std::error::Error for RecvError {}
