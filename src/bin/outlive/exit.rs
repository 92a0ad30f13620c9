//! How the command ends: one table of exit codes, the same for every subcommand.

use core::fmt;
use std::error::Error as StdError;
use std::io;

use outlive::Error;

/// Why a command failed, for whoever reads `$?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Other = 1,
    Usage = 2,
    NotFound = 3,
    TimedOut = 4,
    PeerDied = 5,
    Denied = 6,
    Foreign = 7,
    Busy = 8,
    NoSpace = 9,
    /// As a shell reports a death by SIGPIPE: nobody reads what we print.
    Unread = 141,
}

/// The end of every help text.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  another error; check: something is corrupt
  2  wrong usage
  3  not found: the segment, or a file
  4  timed out
  5  the peer died, or has closed before the end
  6  permission denied
  7  not a segment, of another version or type, or corrupt
  8  busy: a living process holds it, or no attachment row is free
  9  no space
  128 + N  stopped by signal N (141: nobody reads standard output)";

impl Exit {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What an error means.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if let Some(error) = error.downcast_ref::<Error>() {
            return Self::of_ours(error);
        }
        let Some(error) = error.downcast_ref::<io::Error>() else { return Self::Other };
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(inner) => Self::of_ours(inner),
            None => Self::of_kind(error.kind()),
        }
    }

    fn of_ours(error: &Error) -> Self {
        match error {
            Error::InvalidAddress { .. } | Error::InvalidName { .. } | Error::InvalidConfig { .. } => {
                Self::Usage
            }
            Error::NotFound { .. } => Self::NotFound,
            Error::Full | Error::Empty => Self::TimedOut,
            Error::Closed | Error::PeerDied { .. } => Self::PeerDied,
            Error::Denied { .. } | Error::ReadOnly => Self::Denied,
            Error::Foreign { .. }
            | Error::Corrupt { .. }
            | Error::WrongType { .. }
            | Error::WrongShape { .. } => Self::Foreign,
            Error::Busy { .. } | Error::NoRow { .. } => Self::Busy,
            Error::NoSpace { .. } => Self::NoSpace,
            Error::Os { source, .. } => Self::of_kind(source.kind()),
            _ => Self::Other,
        }
    }

    fn of_kind(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
            io::ErrorKind::BrokenPipe => Self::PeerDied,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Other,
        }
    }
}

/// An error of the command itself.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_meaning_inside_of_others() {
        let denied = || Error::Denied { what: "x".to_owned() };
        assert_eq!(Exit::of(&denied()), Exit::Denied);
        assert_eq!(Exit::of(&io::Error::from(denied())), Exit::Denied);
        assert_eq!(Exit::of(&io::Error::from(io::ErrorKind::PermissionDenied)), Exit::Denied);
        assert_eq!(Exit::of(&io::Error::from_raw_os_error(nix::libc::ENOSPC)), Exit::NoSpace);
        assert_eq!(Exit::of(&io::Error::from(Error::Closed)), Exit::PeerDied);
        assert_eq!(Exit::of(&Failure::new(Exit::Busy, "x")), Exit::Busy);
        assert_eq!(Exit::of(&fmt::Error), Exit::Other);
    }

    #[test]
    fn every_code_is_in_the_help() {
        use Exit::{Busy, Denied, Foreign, NoSpace, NotFound, Other, PeerDied, TimedOut, Unread, Usage};
        for exit in [Other, Usage, NotFound, TimedOut, PeerDied, Denied, Foreign, Busy, NoSpace] {
            assert!(HELP.contains(&format!("\n  {}  ", exit.code())), "{exit:?}");
        }
        assert!(HELP.contains(&format!("({}: ", Unread.code())));
    }
}
