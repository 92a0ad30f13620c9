//! System V shared memory as strangers see it, and names that leave none behind.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses a part of it")]

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::libc;
use outlive::Address;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A key for one test. Its segment and its lock file are removed when it is dropped.
pub struct Key(u32);

impl Key {
    pub fn new() -> Self {
        Self(1 << 31 | std::process::id() << 8 | NEXT.fetch_add(1, Ordering::Relaxed) & 0xff)
    }

    /// One that is known; still removed.
    pub fn known(key: u32) -> Self {
        Self(key)
    }

    pub fn number(&self) -> u32 {
        self.0
    }

    pub fn address(&self) -> Address {
        self.text().into()
    }

    pub fn text(&self) -> String {
        format!("sysv:{:#x}", self.0)
    }

    /// The id of the segment that has it.
    pub fn id(&self) -> Option<i32> {
        self.find().map(|entry| entry.id)
    }

    /// What the kernel lists for it.
    pub fn entry(&self) -> Entry {
        self.find().unwrap()
    }

    fn find(&self) -> Option<Entry> {
        entries().into_iter().find(|entry| entry.key == self.0)
    }

    pub fn sidecar(&self) -> PathBuf {
        sidecar(&format!("k{:08x}", self.0))
    }

    /// Whether neither the segment nor its lock file is there.
    pub fn is_clean(&self) -> bool {
        self.id().is_none() && !self.sidecar().exists()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if let Some(id) = self.id() {
            remove(id);
        }
        let _ = std::fs::remove_file(self.sidecar());
    }
}

/// A segment that no key finds, and its lock file; removed when this is dropped.
pub struct Private(pub i32);

impl Private {
    pub fn sidecar(&self) -> PathBuf {
        sidecar(&format!("i{}", self.0))
    }

    pub fn is_clean(&self) -> bool {
        !self.is_there() && !self.sidecar().exists()
    }

    pub fn is_there(&self) -> bool {
        entries().iter().any(|entry| entry.id == self.0)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        remove(self.0);
        let _ = std::fs::remove_file(self.sidecar());
    }
}

fn sidecar(kind: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(prefix() + kind)
}

fn prefix() -> String {
    format!("outlive-sysv-{}-", std::fs::metadata("/proc/thread-self/ns/ipc").unwrap().ino())
}

/// The names of all lock files in the ipc namespace of this thread.
pub fn sidecars() -> Vec<String> {
    let names = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&prefix())).collect()
}

/// What the kernel lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: u32,
    pub id: i32,
    pub mode: u32,
    pub size: usize,
    pub maker: u32,
    pub attached: u64,
    pub group: u32,
}

pub fn entries() -> Vec<Entry> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let entry = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        Entry {
            key: u32::from_le_bytes(columns[0].parse::<i32>().unwrap().to_le_bytes()),
            id: columns[1].parse().unwrap(),
            mode: u32::from_str_radix(columns[2], 8).unwrap(),
            size: columns[3].parse().unwrap(),
            maker: columns[4].parse().unwrap(),
            attached: columns[6].parse().unwrap(),
            group: columns[8].parse().unwrap(),
        }
    };
    text.lines().skip(1).map(entry).collect()
}

/// A segment that this crate knows nothing of.
pub fn make(key: &Key, size: usize) -> i32 {
    let key = libc::key_t::from_le_bytes(key.number().to_le_bytes());
    // SAFETY: takes no pointer.
    let id = unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    Errno::result(id).unwrap()
}

/// As `ipcrm -m` does. Whether there was one.
pub fn remove(id: i32) -> bool {
    // SAFETY: this command looks at no buffer.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) == 0 }
}

/// Memory attached without this crate.
pub struct Raw {
    base: *mut u8,
    len: usize,
}

impl Raw {
    /// `len`: of the segment.
    #[expect(clippy::disallowed_methods, reason = "what a stranger does")]
    pub fn attach(id: i32, len: usize) -> Self {
        // SAFETY: the kernel chooses an address that nothing uses.
        let base = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        assert_ne!(base.addr(), usize::MAX, "{}", Errno::last());
        Self { base: base.cast(), len }
    }

    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        // SAFETY: all of the attachment; others who write are waited for by these tests.
        unsafe { self.base.copy_to_nonoverlapping(bytes.as_mut_ptr(), self.len) };
        bytes
    }

    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len);
        let to = self.base.wrapping_add(at);
        // SAFETY: inside the attachment, as just asserted, and what is copied is none of it.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Raw {
    #[expect(clippy::disallowed_methods, reason = "what a stranger does")]
    fn drop(&mut self) {
        // SAFETY: attached once, and detached here.
        unsafe { libc::shmdt(self.base.cast()) };
    }
}
