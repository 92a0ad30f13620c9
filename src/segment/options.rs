//! How to create or open a segment, in the manner of `std::fs::OpenOptions`.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::{Address, Segment, passing, startup, sysv};
use crate::error::{Error, Result};

/// Options of a segment. Those of creation count only if the call creates: see [`Segment::created`].
///
/// ```
/// use outlive::Segment;
/// let segment = Segment::options().size(1 << 20).rows(8).memfd("scratch")?;
/// assert_eq!(segment.size(), 1 << 20);
/// # Ok::<(), outlive::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Options {
    pub(super) size: usize,
    pub(super) mode: u32,
    pub(super) group: Option<u32>,
    pub(super) rows: u16,
    pub(super) temporary: bool,
    pub(super) prefault: bool,
    pub(super) lock_in_ram: bool,
    pub(super) read_only: bool,
    pub(super) huge_pages: HugePages,
}

/// The pages of a segment: with larger ones the processor finds its way to more memory without looking it up, which
/// helps large segments that are used all over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePages {
    /// The machine's, of 4, 16 or 64 KiB.
    #[default]
    No,
    /// An advice: the kernel puts pages together where and when it can, and that is for memfds and `shm:` as
    /// `/sys/kernel/mm/transparent_hugepage/shmem_enabled` says. Never an error. Counts for each attachment by itself,
    /// also when the segment is opened.
    Transparent,
    /// Of 2 MiB, set aside by the administrator (`vm.nr_hugepages`): certain, never swapped.
    Mb2,
    /// Of 1 GiB, set aside by the administrator, best at boot.
    Gb1,
}

impl HugePages {
    /// Bytes of a page of an explicit size.
    pub(super) fn explicit(self) -> Option<usize> {
        match self {
            Self::No | Self::Transparent => None,
            Self::Mb2 => Some(2 << 20),
            Self::Gb1 => Some(1 << 30),
        }
    }
}

impl Default for Options {
    /// 64 KiB, mode 0600, 64 rows.
    fn default() -> Self {
        // The model checker constructs every word of every row anew in each iteration.
        let rows = if cfg!(loom) { 2 } else { 64 };
        Self {
            size: 1 << 16,
            mode: 0o600,
            group: None,
            rows,
            temporary: false,
            prefault: false,
            lock_in_ram: false,
            read_only: false,
            huge_pages: HugePages::No,
        }
    }
}

impl Options {
    /// Bytes, header and tables included; rounded up to 4096. Default 64 KiB. All of it is reserved at creation.
    pub fn size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    /// Permission bits of the object, whatever the umask. Default `0o600`.
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Shares a segment that has a name with a group (a gid), together with [`mode`](Self::mode): one that has the bits
    /// `0o060` can be used by its members, `0o040` [looked at](Self::read_only). Whoever can use it can also scribble
    /// over it. By default it belongs to the process's own group, and the mode gives that nothing.
    ///
    /// ```
    /// # fn shared() -> outlive::Result<()> {
    /// let traders = 1042;
    /// let segment = outlive::Segment::options().mode(0o660).group(traders).create("shm:market")?;
    /// # Ok(()) }
    /// ```
    ///
    /// At creation it is `Denied` unless the process is a member of the group, or privileged. A memfd has no use for it.
    /// (System V memory is also its creator's own group's, as long as it exists, by the rules of the kernel: what the mode
    /// gives, it gives to the members of both.)
    pub fn group(self, gid: u32) -> Self {
        Self { group: Some(gid), ..self }
    }

    /// How many processes can be attached at a time, 1 to 1022. Default 64; 128 bytes each.
    pub fn rows(self, rows: u16) -> Self {
        Self { rows, ..self }
    }

    /// Unlinked by the last detach. (If the last process is killed: by the last detach of the next one that opens it.)
    pub fn temporary(self, yes: bool) -> Self {
        Self { temporary: yes, ..self }
    }

    /// Touches every page at once, so that no operation takes a page fault later. About 3 us a page of 4 KiB.
    pub fn prefault(self, yes: bool) -> Self {
        Self { prefault: yes, ..self }
    }

    /// Locks the mapping in RAM; counts against `RLIMIT_MEMLOCK`.
    pub fn lock_in_ram(self, yes: bool) -> Self {
        Self { lock_in_ram: yes, ..self }
    }

    /// Pages of another size than the machine's. Default [`HugePages::No`].
    ///
    /// Explicit sizes are for [`memfd`](Self::memfd), [`anonymous`](Self::anonymous), files of a hugetlbfs of that
    /// page size (which has them whether they are asked for or not), and System V, which gives them to the privileged
    /// and to the members of the group `vm.hugetlb_shm_group` (to others it is `Denied`). The segment's size is rounded up to whole pages.
    /// All of them are reserved at creation: too few are `NoSpace`, with the bytes that are free, and never SIGBUS.
    /// Other segments are `Unsupported`. Whoever can write such a segment can also take pages out of it, sealed or
    /// not; hence it is not sent through sockets.
    ///
    /// ```
    /// use outlive::{Error, Segment, segment::HugePages};
    /// let options = Segment::options().size(3 << 20);
    /// let segment = match options.clone().huge_pages(HugePages::Mb2).anonymous() {
    ///     Err(Error::NoSpace { .. } | Error::Unsupported { .. }) => options.anonymous()?, // none are free
    ///     other => other?,
    /// };
    /// # Ok::<(), Error>(())
    /// ```
    pub fn huge_pages(self, huge_pages: HugePages) -> Self {
        Self { huge_pages, ..self }
    }

    /// Attaches as an observer, for [`open`](Self::open), [`from_fd`](Self::from_fd) and [`receive_over`](Self::receive_over): it takes the right to read the
    /// object only, has no row, and changes nothing.
    ///
    /// An observer sees attachments, objects, the statistics of structures, and copies of payload
    /// ([`Segment::resolve`]). Whatever has to write returns `ReadOnly`: roles, `remove`, `sweep`, new objects, and
    /// [`Object`](crate::object::Object)s, whose atomics could be stored to. Nobody waits for an observer, and nothing
    /// keeps an object for it: what it has open may be removed, and the memory be used for another object; then
    /// it sees that one's bytes. Take a [`snapshot`](Segment::snapshot) where that matters.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::spsc};
    /// let segment = Segment::options().memfd("scratch")?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 8)?;
    /// ring.try_sender()?.send(1)?;
    /// let fd = segment.as_fd().expect("a memfd has one").try_clone_to_owned().expect("one more descriptor");
    /// let observer = Segment::options().read_only(true).from_fd(fd)?;
    /// let seen = spsc::Ring::<u64>::open(&observer, "numbers")?;
    /// assert_eq!(seen.stats().depth, 1);
    /// assert!(matches!(seen.try_receiver(), Err(Error::ReadOnly)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn read_only(self, yes: bool) -> Self {
        Self { read_only: yes, ..self }
    }

    /// Creates the segment; its name must be free.
    ///
    /// # Errors
    /// `AlreadyExists`, `NoSpace` (nothing is left behind), `InvalidAddress`, `InvalidConfig`, `Denied`, `Unsupported`.
    pub fn create(&self, address: impl Into<Address>) -> Result<Segment> {
        self.checked()?;
        startup::create(&address.into(), self).map(|attached| Segment::new(attached, true))
    }

    /// Attaches to the segment.
    ///
    /// # Errors
    /// `NotFound`, `Foreign`, `NoRow`, `Denied`, `InvalidAddress`, `Unsupported`; `NoSpace` for the copy of a file that was
    /// made without its empty pages, and for which there is no room. With [`read_only`](Self::read_only) never `NoRow` or
    /// `NoSpace`.
    pub fn open(&self, address: impl Into<Address>) -> Result<Segment> {
        startup::open(&address.into(), self).map(|attached| Segment::new(attached, false))
    }

    /// Attaches to the segment, or creates it; of many processes that do this at once, one creates.
    ///
    /// # Errors
    /// `WrongShape` if it exists and is smaller than the size asked for, and those of [`Options::create`] and
    /// [`Options::open`].
    pub fn open_or_create(&self, address: impl Into<Address>) -> Result<Segment> {
        self.checked()?;
        startup::open_or_create(&address.into(), self)
            .map(|(attached, created)| Segment::new(attached, created))
    }

    /// A segment without a name, to be passed on as a descriptor; sealed, so that no peer can truncate it.
    ///
    /// # Errors
    /// `NoSpace`, `InvalidConfig`.
    pub fn memfd(&self, label: &str) -> Result<Segment> {
        self.checked()?;
        startup::create_memfd(label, self).map(|attached| Segment::new(attached, true))
    }

    /// Attaches to the segment that a descriptor refers to. The descriptor itself is closed; the object is opened anew, for
    /// reading and writing (unless [`read_only`](Self::read_only)), through `/proc/self/fd`.
    ///
    /// # Errors
    /// As [`Options::open`]; `Denied` if it may not be opened so, and for an object without a name that is not sealed with
    /// `F_SEAL_SHRINK`: whoever sent it could truncate it under us. (One with a name is as trustworthy as its name.)
    #[expect(clippy::needless_pass_by_value, reason = "it takes the descriptor, and closes it")]
    pub fn from_fd(&self, fd: OwnedFd) -> Result<Segment> {
        startup::join_fd(&fd, self).map(|attached| Segment::new(attached, false))
    }

    /// A segment without a name, for this process and those that it forks: a child calls
    /// [`attach`](Segment::attach). It is a sealed memfd, and gone with the last of them.
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::options().anonymous()?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "results", 64)?;
    /// // after a fork, in the child: let segment = segment.attach()?;
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NoSpace`, `InvalidConfig`.
    pub fn anonymous(&self) -> Result<Segment> {
        self.memfd("outlive")
    }

    /// Attaches to the segment that a peer hands over: see [`Segment::receive_over`].
    ///
    /// # Errors
    /// Those of [`Segment::receive_over`].
    pub fn receive_over(&self, socket: &UnixStream) -> Result<Segment> {
        passing::receive(self, socket.as_fd()).map(|attached| Segment::new(attached, false))
    }

    /// A System V segment that no key finds: others open it by its id, as [`Segment::sysv_address`] has it, and forked
    /// children call [`attach`](Segment::attach). It stays until it is unlinked, unless it is
    /// [`temporary`](Self::temporary).
    ///
    /// A creator killed in the two system calls between the making of the segment and the naming of its lock file leaves
    /// an empty one that nobody can tell from a stranger's: `ipcs -m` shows it, with key 0 and nobody attached. With a key
    /// there is no such moment.
    ///
    /// ```
    /// use outlive::Segment;
    /// let segment = Segment::options().temporary(true).sysv_private()?;
    /// let address = segment.sysv_address().expect("it has one");
    /// assert_eq!(Segment::open(&address)?.attachments()?.len(), 2);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NoSpace`, `InvalidConfig`, `Unsupported`.
    pub fn sysv_private(&self) -> Result<Segment> {
        self.checked()?;
        sysv::create_private(self).map(|attached| Segment::new(attached, true))
    }

    /// A segment on the heap of this process: no kernel object, for models, fuzzers and tests.
    ///
    /// # Errors
    /// `NoSpace`, `InvalidConfig`.
    pub fn heap(&self) -> Result<Segment> {
        self.checked()?;
        startup::create_heap(self).map(|attached| Segment::new(attached, true))
    }

    fn checked(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::InvalidConfig { why: "a read-only attachment creates nothing: use `open`" });
        }
        if self.mode & !0o777 != 0 {
            return Err(Error::InvalidConfig { why: "a mode has the bits 0o777" });
        }
        if self.group == Some(u32::MAX) {
            return Err(Error::InvalidConfig { why: "a group is 0 to 2^32 - 2" }); // to the kernel that is "none"
        }
        Ok(())
    }
}
