//! The file that is streamed, repeated until it is long enough.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Shorter files are repeated in memory up to about this length, so that a read is never short.
const SHORT: usize = 1 << 20;

/// The bytes `0..size` of a file repeated for ever.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file's own length.
    length: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// A whole number of copies.
    Memory(Vec<u8>),
    File(File),
}

impl Source {
    /// Opens a regular file that is not empty.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let explain = |kind, why: &str| io::Error::new(kind, format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(|error| explain(error.kind(), &error.to_string()))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(explain(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let length = metadata.len();
        if length == 0 {
            return Err(explain(
                io::ErrorKind::InvalidInput,
                "the file is empty: there is nothing to stream",
            ));
        }
        let bytes = match usize::try_from(length) {
            Ok(short) if short < SHORT => {
                let mut once = vec![0; short];
                file.read_exact_at(&mut once, 0)?;
                Bytes::Memory(once.repeat(SHORT.div_ceil(short)))
            }
            _ => Bytes::File(file),
        };
        Ok(Self { length, bytes })
    }

    /// The file's own length.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reads from position `at` of the repeated file.
    pub(crate) fn read(&self, mut into: &mut [u8], at: u64) -> io::Result<()> {
        let period = match &self.bytes {
            Bytes::Memory(bytes) => bytes.len() as u64,
            Bytes::File(_) => self.length,
        };
        let mut at = at % period;
        while !into.is_empty() {
            let rest = usize::try_from(period - at).unwrap_or(usize::MAX);
            let (now, later) = into.split_at_mut(rest.min(into.len()));
            match &self.bytes {
                Bytes::Memory(bytes) => {
                    let from = usize::try_from(at).map_err(io::Error::other)?;
                    now.copy_from_slice(&bytes[from..from + now.len()]);
                }
                Bytes::File(file) => file.read_exact_at(now, at)?,
            }
            into = later;
            at = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A file that the closure sees at a path.
    fn with_file(bytes: &[u8], f: impl FnOnce(&Path)) {
        use std::os::fd::AsRawFd as _;
        let name = "outlive-demo-test";
        let mut file = File::from(
            nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::empty()).expect("a file"),
        );
        file.write_all(bytes).expect("written");
        f(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())));
    }

    fn check(length: usize) {
        let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n * 7 % 251).expect("a remainder")).collect();
        with_file(&bytes, |path| {
            let source = Source::open(path).expect("opened");
            assert_eq!(source.length(), length as u64);
            for (at, count) in
                [(0, 10), (length - 1, 3), (5 * length + 2, 2 * length + 5), (length * 1000, 1)]
            {
                let mut found = vec![0; count];
                source.read(&mut found, at as u64).expect("read");
                let expected: Vec<u8> = (at..at + count).map(|n| bytes[n % length]).collect();
                assert_eq!(found, expected, "{count} bytes at {at}");
            }
        });
    }

    #[test]
    fn a_short_file_repeats() {
        check(3);
        check(1000);
    }

    #[test]
    fn a_long_file_repeats() {
        check(SHORT);
        check(SHORT + 17);
    }

    #[test]
    fn what_cannot_be_streamed_is_refused() {
        with_file(b"", |path| assert!(Source::open(path).is_err()));
        assert!(Source::open(Path::new("/proc/self")).is_err());
        assert!(Source::open(Path::new("/dev/null")).is_err());
        let missing = Source::open(Path::new("/nowhere/at-all")).expect_err("there is no such file");
        assert!(missing.to_string().contains("/nowhere/at-all"));
    }
}
