//! Where a segment is: a name in shared memory, or a path.

use core::fmt;
use core::str::FromStr;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::os;

/// Where a segment is found.
///
/// | text | means |
/// |---|---|
/// | `shm:ticks`, `ticks` | POSIX shared memory of that name (a file in `/dev/shm`) |
/// | `file:/var/lib/x/ticks` | a file; also `From<&Path>` |
/// | `sysv:KEY`, `sysv:PATH:ID` | System V shared memory (not in this version: `Error::Unsupported`) |
///
/// Conversion never fails: a malformed address is [`Error::InvalidAddress`] at the call that uses it.
/// `FromStr` says so at once.
///
/// ```
/// use outlive::{Address, Error, Segment};
/// let address: Address = "shm:ticks".parse()?;
/// assert_eq!(address.to_string(), "shm:ticks");
/// assert!(matches!(Segment::open("shm:a/b"), Err(Error::InvalidAddress { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(Form);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    Shm(String),
    File(PathBuf),
    Sysv(String),
    Invalid { text: String, why: &'static str },
}

/// The longest name of a file in `/dev/shm`.
const LONGEST_NAME: usize = 255;

impl Address {
    fn parse(text: &str) -> Self {
        let invalid = |why| Self(Form::Invalid { text: text.to_owned(), why });
        if let Some(path) = text.strip_prefix("file:") {
            return Self::of_path(Path::new(path));
        }
        if let Some(key) = text.strip_prefix("sysv:") {
            return if key.is_empty() {
                invalid("a key is missing")
            } else {
                Self(Form::Sysv(key.to_owned()))
            };
        }
        let name = text.strip_prefix("shm:").unwrap_or(text);
        let name = name.strip_prefix('/').unwrap_or(name); // as shm_open spells it
        if name.is_empty() {
            return invalid("the name is empty");
        }
        if name.len() > LONGEST_NAME {
            return invalid("the name has more than 255 bytes");
        }
        if name == "." || name == ".." || name.contains(['/', '\0']) {
            return invalid("a name in shared memory has no `/` and no NUL, and is neither `.` nor `..`");
        }
        if name.contains(':') && !text.starts_with("shm:") {
            return invalid("unknown kind of address: use `shm:`, `file:` or `sysv:`");
        }
        Self(Form::Shm(name.to_owned()))
    }

    fn of_path(path: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let bytes = path.as_os_str().as_bytes();
        let why = if bytes.is_empty() {
            "the path is empty"
        } else if bytes.contains(&0) {
            "the path contains NUL"
        } else if path.file_name().is_none() {
            "the path names a directory"
        } else {
            return Self(Form::File(path.to_owned()));
        };
        Self(Form::Invalid { text: format!("file:{}", path.display()), why })
    }

    /// The file that it is, whichever way it was spelled.
    pub(super) fn path(&self) -> Result<PathBuf> {
        match &self.0 {
            Form::Shm(name) => Ok(Path::new(os::object::SHM_DIR).join(name)),
            Form::File(path) => os::object::settled(path).map_err(|e| Error::os("getcwd", e)),
            Form::Sysv(_) => Err(Error::Unsupported { what: "System V shared memory, in this version" }),
            Form::Invalid { text, why } => Err(Error::InvalidAddress { address: text.clone(), why }),
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

impl From<&String> for Address {
    fn from(text: &String) -> Self {
        Self::parse(text)
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::of_path(path)
    }
}

impl From<&PathBuf> for Address {
    fn from(path: &PathBuf) -> Self {
        Self::of_path(path)
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::parse(text).0 {
            Form::Invalid { text, why } => Err(Error::InvalidAddress { address: text, why }),
            form => Ok(Self(form)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Shm(name) => write!(f, "shm:{name}"),
            Form::File(path) => write!(f, "file:{}", path.display()),
            Form::Sysv(key) => write!(f, "sysv:{key}"),
            Form::Invalid { text, .. } => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_parses_and_prints() {
        for (text, printed) in [
            ("ticks", "shm:ticks"),
            ("shm:ticks", "shm:ticks"),
            ("shm:/ticks", "shm:ticks"),
            ("shm:a:b", "shm:a:b"),
            ("file:/tmp/x", "file:/tmp/x"),
            ("file:x", "file:x"),
            ("sysv:0x17", "sysv:0x17"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), printed);
        }
        for text in [
            "", "shm:", "shm:a/b", "a/b", "..", "shm:.", "a\0b", "file:", "file:/", "file:..", "sysv:",
            "http:x",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(matches!(error, Error::InvalidAddress { .. }), "{text}: {error}");
            assert!(Address::from(text).path().is_err(), "{text}");
        }
        assert!("x".repeat(256).parse::<Address>().is_err());
        assert!("x".repeat(255).parse::<Address>().is_ok());
    }
}
