//! Names that no other test has, and that are gone afterwards.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use outlive::{Address, Error, Segment};

pub mod process;
pub mod sysv;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name for one test, removed when dropped.
pub struct Name {
    address: Address,
    path: PathBuf,
}

impl Name {
    fn unique(label: &str) -> String {
        format!("outlive-test-{label}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// In POSIX shared memory.
    pub fn shm(label: &str) -> Self {
        let name = Self::unique(label);
        Self { path: Path::new("/dev/shm").join(&name), address: Address::from(name) }
    }

    /// A file.
    pub fn file(label: &str) -> Self {
        let path = scratch_dir().join(Self::unique(label));
        Self { address: Address::from(&path), path }
    }

    pub fn address(&self) -> Address {
        self.address.clone()
    }

    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A directory whose file system can hold segments: cargo's, or (in a container on an overlay) shared memory.
pub fn scratch_dir() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&here).unwrap();
    let probe = here.join(Name::unique("probe"));
    let usable = !matches!(Segment::create(&probe, 1 << 16), Err(Error::Unsupported { .. }));
    let _ = std::fs::remove_file(probe);
    if usable { here } else { PathBuf::from("/dev/shm") }
}
