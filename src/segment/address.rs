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
/// | `sysv:4711`, `sysv:0x1267` | System V shared memory of that key, 1 to 2^32 - 1 |
/// | `sysv:/etc/hosts:7` | the same, of the key that `ftok` makes of a path and a number from 1 to 255 |
/// | `sysv:#32769` | the same, by its id, which the kernel has given it: to open and unlink, not to create |
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
    Sysv { text: String, place: Sysv },
    Invalid { text: String, why: &'static str },
}

/// Where a System V segment is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sysv {
    Key(u32),
    /// The key that `ftok` makes of them, now.
    Path(PathBuf, u8),
    Id(i32),
}

impl Sysv {
    /// What stands behind `sysv:`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(id) = text.strip_prefix('#') {
            let id = id.parse().ok().filter(|&id: &i32| id >= 0);
            return id.map(Self::Id).ok_or("an id is a number, as `ipcs -m` shows it: `sysv:#32769`");
        }
        if text.contains(['/', ':']) {
            let why = "a path takes a number from 1 to 255 with it: `sysv:/etc/hosts:7`";
            let (path, number) = text.rsplit_once(':').ok_or(why)?;
            let number = number.parse().ok().filter(|&number: &u8| number != 0).ok_or(why)?;
            if path.is_empty() || path.contains('\0') {
                return Err("the path is empty, or contains NUL");
            }
            return Ok(Self::Path(PathBuf::from(path), number));
        }
        let key = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16),
            _ => text.parse(),
        };
        match key {
            Ok(0) => Err("key 0 is none: use `Options::sysv_private`"),
            Ok(key) => Ok(Self::Key(key)),
            Err(_) => Err("a key is a number from 1 to 2^32 - 1, decimal or with 0x"),
        }
    }
}

/// The longest name of a file in `/dev/shm`.
const LONGEST_NAME: usize = 255;

impl Address {
    fn parse(text: &str) -> Self {
        let invalid = |why| Self(Form::Invalid { text: text.to_owned(), why });
        if let Some(path) = text.strip_prefix("file:") {
            return Self::of_path(Path::new(path));
        }
        if let Some(text) = text.strip_prefix("sysv:") {
            return match Sysv::parse(text) {
                Ok(place) => Self(Form::Sysv { text: text.to_owned(), place }),
                Err(why) => invalid(why),
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

    /// A System V segment: by its key, or by its id if no key finds it.
    pub(super) fn of_sysv(key: u32, id: i32) -> Self {
        let private = key == os::sysv::PRIVATE;
        let (text, place) =
            if private { (format!("#{id}"), Sysv::Id(id)) } else { (format!("{key:#010x}"), Sysv::Key(key)) };
        Self(Form::Sysv { text, place })
    }

    /// The System V segment that it is, if it is one.
    pub(super) fn sysv(&self) -> Option<&Sysv> {
        match &self.0 {
            Form::Sysv { place, .. } => Some(place),
            _ => None,
        }
    }

    /// The file that it is, whichever way it was spelled.
    pub(super) fn path(&self) -> Result<PathBuf> {
        match &self.0 {
            Form::Shm(name) => Ok(Path::new(os::object::SHM_DIR).join(name)),
            Form::File(path) => os::object::settled(path).map_err(|e| Error::os("getcwd", e)),
            Form::Sysv { .. } => {
                Err(Error::Unsupported { what: "a file of System V shared memory: it has none" })
            }
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
            Form::Sysv { text, .. } => write!(f, "sysv:{text}"),
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
            ("sysv:4294967295", "sysv:4294967295"),
            ("sysv:/etc/hosts:255", "sysv:/etc/hosts:255"),
            ("sysv:a:b:1", "sysv:a:b:1"),
            ("sysv:#0", "sysv:#0"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), printed);
        }
        for text in [
            "",
            "shm:",
            "shm:a/b",
            "a/b",
            "..",
            "shm:.",
            "a\0b",
            "file:",
            "file:/",
            "file:..",
            "sysv:",
            "http:x",
            "sysv:x",
            "sysv:0",
            "sysv:0x",
            "sysv:-1",
            "sysv:4294967296",
            "sysv:0x+1",
            "sysv:/etc/hosts",
            "sysv:/etc/hosts:0",
            "sysv:/etc/hosts:256",
            "sysv::1",
            "sysv:#",
            "sysv:#-1",
            "sysv:#x",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(matches!(error, Error::InvalidAddress { .. }), "{text}: {error}");
            assert!(Address::from(text).path().is_err(), "{text}");
        }
        assert!("x".repeat(256).parse::<Address>().is_err());
        assert!("x".repeat(255).parse::<Address>().is_ok());
    }
}
