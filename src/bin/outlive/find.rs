//! Which segments there are, and a look at them that disturbs nobody.

use core::fmt::Display;
use std::error::Error as StdError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use outlive::segment::sysv_addresses;
use outlive::{Address, Error, Segment};

use crate::complain;
use crate::exit::Exit;

/// Where POSIX shared memory lies.
const SHM: &str = "/dev/shm";

/// What may be segments: regular files. Without directories: POSIX and System V shared memory.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    pub(crate) addresses: Vec<Address>,
    /// Why some could not be looked for; it was said.
    pub(crate) failed: Option<Exit>,
}

impl Candidates {
    pub(crate) fn find(directories: &[PathBuf]) -> Self {
        let mut found = Self::default();
        if directories.is_empty() {
            found.search(Path::new(SHM));
            found.search_sysv();
        }
        for directory in directories {
            found.search(directory);
        }
        found
    }

    fn search_sysv(&mut self) {
        match sysv_addresses() {
            Ok(addresses) => self.addresses.extend(addresses),
            Err(Error::Os { source, .. }) if source.kind() == io::ErrorKind::NotFound => {} // a kernel without them
            Err(error) => self.failure(&error, &error),
        }
    }

    fn failure(&mut self, what: &dyn Display, error: &(dyn StdError + 'static)) {
        complain(what);
        self.failed = self.failed.or(Some(Exit::of(error)));
    }

    fn search(&mut self, directory: &Path) {
        let mut paths = match files(directory) {
            Ok(paths) => paths,
            Err(error) => {
                self.failure(&format_args!("{}: {error}", directory.display()), &error);
                return;
            }
        };
        paths.sort_unstable();
        let in_memory = |path: &Path| {
            let name = path.file_name().filter(|_| directory == Path::new(SHM))?.to_str()?;
            Some(Address::from(format!("shm:{name}")))
        };
        let addresses = paths.iter().map(|path| in_memory(path).unwrap_or_else(|| Address::from(path)));
        self.addresses.extend(addresses);
    }
}

/// The regular files of a directory, links to such included. What is something else by the time it is opened is refused
/// then, without waiting for anybody.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.filter_map(Result::ok).map(|entry| entry.path());
    Ok(entries.filter(|path| fs::metadata(path).is_ok_and(|found| found.is_file())).collect())
}

/// For looking only: takes no row, and changes not a byte.
pub(crate) fn look(address: &Address) -> Result<Segment, Error> {
    Segment::options().read_only(true).open(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_none_is_a_failure_and_the_others_are_searched() {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let found = Candidates::find(&[here.join("nowhere"), here.clone()]);
        assert_eq!(found.failed, Some(Exit::NotFound));
        let manifest = Address::from(here.join("Cargo.toml").as_path());
        assert!(found.addresses.contains(&manifest), "{:?}", found.addresses);
        assert!(
            !found.addresses.contains(&Address::from(here.join("src").as_path())),
            "a directory is no file"
        );
    }
}
