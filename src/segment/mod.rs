//! Floor 3: memory that introduces itself.
//!
//! A [`Segment`] is a piece of shared memory with a header that says what it is, a table of the processes attached to
//! it, and a directory of named objects. Open it under a name, a path or a descriptor; then open structures in it.
//!
//! # Layout
//! ```text
//! 0          4096        rows_at + 128 * rows    entries_at + 128 * entries              data_at         size
//! | header   | rows      | directory entries     | openers: per entry, a bit a row       | objects ...   |
//! ```
//! Every field is little-endian and of fixed width; all control words are atomics; offsets count from the beginning,
//! 0 is null. The layout version stands in the header, and no feature of the crate changes a byte.
//!
//! # Invariants
//! I6  The process-private cells behind `Attached` are mapped for ever, and accessed as relaxed atomics only.
//! I8  `Segment` is transparent over an `Arc`, whatever its mode.
//! I7  The anchor is unmapped once, by the process that mapped it.
//! S1  `state` of a row is the truth about it. Only its tenant makes it Active; only a verified death, or the tenant,
//!     ends that.
//! S2  A row is given out again only when every word of its last tenant has been repaired.
//!
//! # Orderings
//! | tag | operation                                   | order            | pairs    | because                                                       |
//! |-----|---------------------------------------------|------------------|----------|---------------------------------------------------------------|
//! | H1  | constants of the header                     | Relaxed          | H2       | ordered by the magic                                          |
//! | H2  | magic, last                                 | Release          | H3       | whoever sees it sees the tables                               |
//! | H3  | magic, first                                | Acquire          | H2       |                                                               |
//! | H4  | constants of the header, and its boot id    | Relaxed          | H3       | ordered by the magic                                          |
//! | H5  | cookie of a System V segment                | Relaxed          | kernel   | written before attachments are counted, read after attaching  |
//! | A1  | row FREE -> ACTIVE -> DEAD -> FREE          | AcqRel           | A1, A2   | identity before Active; repairs before Free                   |
//! | A12 | row ACTIVE -> DEAD in a snapshot            | Relaxed          | -        | nobody else has the copy yet                                  |
//! | A2  | look at a row                               | Acquire          | A1       | identity belongs to this state                                |
//! | A3  | fill in the identity                        | Relaxed          | A1       | ordered by the state                                          |
//! | A11 | before the identity                         | fence Release    | A6       | who reads a part of it sees that the row has changed          |
//! | A4  | read the identity                           | Relaxed          | A2, A6   | verified by a second look at the state                        |
//! | A5  | after each verdict "dead"                   | fence SeqCst     | kernel   | everything that the dead stored is visible from here on       |
//! | A6  | before the second look                      | fence Acquire    | A1       | the identity was read before it                               |
//! | A7  | second look at the state                    | Relaxed          | A6       | the verdict was about this tenant                             |
//! | A8  | where to look for a free row                | Relaxed          | -        | a hint                                                        |
//! | A9  | roster                                      | Release          | -        | counts; the guardian's                                        |
//! | A10 | `gone`                                      | Release, Acquire | A10      | set while all rows are locked: attachers see it behind theirs |
//!
//! No model is known to tell A5 from nothing: in a model a death is a release, and a verdict an acquire; what the kernel
//! orders is tested by real kills only. The identity (A3, A4, A6, A7, A11) is in `rows`, for the kernel's evidence alone.
//!
//! # Crashes
//! Of the attachments. Of a segment that comes or goes: see `startup`; of objects: `directory`.
//!
//! | dies                            | left                | outcome                                   | held by |
//! |---------------------------------|---------------------|-------------------------------------------|---------|
//! | tenant, at any time             | Active, of the dead | swept: on request, or when no row is free | `kill "segment attach, every row is dead"` |
//! |                                 |                     |                                           | `kill "segment open"` |
//! | tenant, while it detaches       | Active, or Free     | swept; or nothing to do                   | `kill "segment dropped, something is open"` |
//! | sweeper, before all is repaired | Dead                | the next sweep repairs what is left       | `kill "segment sweep"` |
//! |                                 |                     |                                           | `tests death::a_sweeper_killed_anywhere_leaves_work_not_*` |
//! | sweeper, behind that            | the same            | the next sweep frees it                   | `kill "segment sweep"` |

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::shim::{Ordering, fence};
use crate::trust::{Checked, Trust, Trusted};

mod address;
mod attached;
pub(crate) mod check;
pub(crate) mod directory;
mod evidence;
mod header;
mod info;
pub(crate) mod inspection;
mod observer;
mod options;
mod owner;
mod owner_lock;
mod passing;
mod rows;
mod snapshot;
mod startup;
mod sweep;
mod sysv;

pub use address::Address;
pub(crate) use attached::{Attached, HotCell, Stamp};
pub use directory::ObjectInfo;
pub use info::SegmentInfo;
pub use options::{HugePages, Options};
pub use owner::Owner;
pub use sweep::Swept;
pub use sysv::sysv_addresses;

/// Shared memory with a header, a table of attachments and a directory of named objects.
///
/// Each `create`, `open` and [`attach`](Segment::attach) is an attachment of its own, with a row and an
/// [`Owner`]. Clones, and all handles of structures, share it. It detaches when the last of them is dropped; dropping
/// never unlinks, unless the segment is [`temporary`](Options::temporary) or [withdrawn](Segment::withdraw).
///
/// # Example
/// ```
/// use outlive::{Segment, ring::spsc};
/// let segment = Segment::heap(1 << 16)?;
/// let ring = spsc::Ring::<u64>::open_or_create(&segment, "numbers", 64)?;
/// ring.try_sender()?.send(7)?;
/// assert_eq!(ring.try_receiver()?.recv()?, 7);
/// # Ok::<(), outlive::Error>(())
/// ```
///
/// # Crashes
/// Kill any process anywhere: a segment that was not complete is never visible, its memory is freed by the kernel. A
/// dead attachment's row, roles and openings are recovered by whoever attaches, waits or calls
/// [`sweep`](Segment::sweep) next.
///
/// # Fork
/// In a child every handle refuses with `Fault::Forked`, and drops without a trace; `attach` is the one thing that
/// works. (An `Object`, or a `Place`, is a plain reference: it goes on working in the child, and is the parent's.)
///
/// # Truncation
/// Whoever may write a named segment may also truncate it; its pages then fault with SIGBUS. A memfd made here is sealed
/// against that, and System V memory cannot shrink: take one where the other side is not trusted that far. Space is reserved at creation, so that a full
/// file system is an error and no fault; on file systems that copy on write (btrfs, zfs) that holds for the first write only.
#[repr(transparent)]
pub struct Segment<M: Trust = Checked> {
    attached: Arc<Attached>,
    mode: PhantomData<M>,
}

impl Segment {
    pub(crate) fn new(attached: Arc<Attached>, created: bool) -> Self {
        attached.set_created(created);
        Self { attached, mode: PhantomData }
    }

    /// Makes a segment of `size` bytes (header and tables included), under a name that must be free.
    ///
    /// # Errors
    /// See [`Options::create`].
    pub fn create(address: impl Into<Address>, size: usize) -> Result<Self> {
        Self::options().size(size).create(address)
    }

    /// Attaches to a segment.
    ///
    /// # Errors
    /// See [`Options::open`].
    pub fn open(address: impl Into<Address>) -> Result<Self> {
        Self::options().open(address)
    }

    /// Attaches to a segment, or makes it.
    ///
    /// # Errors
    /// See [`Options::open_or_create`].
    pub fn open_or_create(address: impl Into<Address>, size: usize) -> Result<Self> {
        Self::options().size(size).open_or_create(address)
    }

    /// Removes a segment's name; attached processes keep theirs until they detach.
    ///
    /// # Errors
    /// `NotFound`; `Foreign` if it is not a segment: then it is left alone; `Denied`.
    pub fn unlink(address: impl Into<Address>) -> Result<()> {
        startup::unlink(&address.into())
    }

    /// A segment on the heap: no kernel object; for models, fuzzers and tests.
    ///
    /// # Errors
    /// `InvalidConfig`, `NoSpace`.
    pub fn heap(size: usize) -> Result<Self> {
        Self::options().size(size).heap()
    }

    /// Everything else that can be chosen.
    pub fn options() -> Options {
        Options::default()
    }

    /// A further attachment to the same segment: after `fork`, or to play a second process in a test.
    ///
    /// Its mapping lies at another address, except on the heap.
    ///
    /// # Errors
    /// `NoRow`; `NotFound` if the descriptor was closed behind our back and the name is gone.
    pub fn attach(&self) -> Result<Self> {
        startup::attach(&self.attached).map(|attached| Self::new(attached, false))
    }

    /// The same attachment, with true zero-copy access to payloads.
    ///
    /// # Safety
    /// Until the last handle is gone: every process that can write this memory runs this protocol with the same
    /// payload definitions; nobody writes it otherwise (`Place::write` of checked handles included), or truncates the
    /// object; no asynchronous kernel I/O aims at it; no attachment is declared dead by `testing::kill`, and no process forks,
    /// while slices of its guards live; and nothing uninitialised is written through the `spare` of a grant.
    pub unsafe fn trust(self) -> Segment<Trusted> {
        Segment { attached: self.attached, mode: PhantomData }
    }

    /// Whether this attachment only looks: see [`Options::read_only`].
    pub fn is_read_only(&self) -> bool {
        self.attached.is_read_only()
    }

    /// Who this attachment is. One that is [read-only](Options::read_only) is nobody: row 1023, which no segment has.
    pub fn owner(&self) -> Owner {
        self.attached.owner()
    }

    /// Whether an attachment is gone, by the kernel's evidence; about a microsecond. An owner that this segment
    /// cannot have (its row does not exist) is not: nobody can hold anything in its name.
    pub fn is_dead(&self, owner: Owner) -> bool {
        self.attached.is_dead(owner).unwrap_or(false)
    }

    /// Whether this call created it.
    pub fn created(&self) -> bool {
        self.attached.created()
    }

    /// Takes a creation back: when this attachment ends, the segment is removed if nobody else has ever attached to it.
    ///
    /// For a side that made a segment for another one, which did not come. If this attachment did not create the
    /// segment, or somebody else has come (and be it that he is gone again), it only ends, and all stays as it is: whoever
    /// attaches at this very moment either keeps the segment, or finds none. Other handles of the attachment delay its end.
    /// A crash before leaves the segment, with a dead attachment.
    ///
    /// ```
    /// use outlive::{Error, Segment};
    /// let name = format!("shm:outlive-doc-withdraw-{}", std::process::id());
    /// let segment = Segment::create(&name, 1 << 16)?;
    /// segment.withdraw();
    /// assert!(matches!(Segment::open(&name), Err(Error::NotFound { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn withdraw(self) {
        self.attached.withdraw();
    }

    /// Bytes, header and tables included.
    pub fn size(&self) -> u64 {
        self.attached.region().len()
    }

    /// Where it is mapped in this process. For messages: never store it in the segment.
    pub fn address(&self) -> usize {
        self.attached.region().base().as_ptr().addr()
    }

    /// Frees an object's name at once, and its memory when the last attachment that has it open is gone.
    ///
    /// # Errors
    /// `NotFound`, `InvalidName`, `ReadOnly`, `Busy` if a stopped process holds the directory.
    pub fn remove(&self, name: &str) -> Result<()> {
        directory::remove(&self.attached, name)
    }

    /// The objects in it.
    ///
    /// # Errors
    /// `Forked`, `Killed`.
    pub fn objects(&self) -> Result<Vec<ObjectInfo>> {
        directory::list(&self.attached)
    }

    /// Who is attached, the dead that nobody has swept yet included.
    ///
    /// # Errors
    /// `Forked`, `Killed`.
    pub fn attachments(&self) -> Result<Vec<Attachment>> {
        self.attached.check()?;
        let mut attachments = Vec::new();
        for number in 1..=self.attached.plan().rows {
            let row = self.attached.row(number)?;
            let state = row.state();
            if !matches!(state.phase(), Some(rows::Phase::Active | rows::Phase::Dead)) {
                continue;
            }
            let owner = Owner::new(number, state.generation());
            let (since, them) = (row.since(), row.identity());
            let alive = !self.attached.is_dead(owner)?;
            fence(Ordering::Acquire); // [A6]
            if row.state() != state {
                continue; // another tenant by now: what was read may be of both
            }
            let (pid, uid) = (them.pid, them.uid);
            attachments.push(Attachment { owner, pid, uid, since, alive });
        }
        Ok(attachments)
    }

    /// Recovers everything that the verified dead hold; safe at any time, concurrent with everybody's work.
    ///
    /// Nobody has to call it: whoever is stuck at a word of a dead process repairs that word, and attaching sweeps when
    /// rows run out.
    ///
    /// # Errors
    /// `Forked`, `Killed`, `ReadOnly`, `Corrupt`.
    pub fn sweep(&self) -> Result<Swept> {
        sweep::sweep(&self.attached)
    }

    /// A copy on the heap, to be inspected, and even drained: the original does not notice.
    ///
    /// In the copy all attachments of the original are dead: [`attachments`](Self::attachments) lists them so, and
    /// their roles can be taken over, as if everybody had been killed at this moment. (If the attachment table was full,
    /// they are swept at once.) A read-only attachment can do this, too.
    ///
    /// The copy is consistent if nobody writes meanwhile. If somebody does, it may hold words of different moments, as a
    /// scribbled segment does: nothing undefined comes of it, but wrong values and `Corrupt`. (A segment on the heap
    /// must be quiet while it is copied.)
    ///
    /// ```
    /// use outlive::{Segment, ring::spsc};
    /// let segment = Segment::options().memfd("scratch")?;
    /// let ring = spsc::Ring::<u64>::create(&segment, "numbers", 8)?;
    /// let mut sender = ring.try_sender()?;
    /// sender.send(1)?;
    /// let copy = segment.snapshot()?;
    /// let seen = spsc::Ring::<u64>::open(&copy, "numbers")?.try_receiver()?.try_recv()?;
    /// assert_eq!((seen, ring.stats().depth), (1, 1));
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NoSpace`, if there is not that much memory; `NotFound` if the segment's descriptor was closed and its name is
    /// gone; `Forked`, `Killed`; `Unsupported` under the model checker.
    pub fn snapshot(&self) -> Result<Self> {
        snapshot::take(&self.attached).map(|attached| Self::new(attached, true))
    }

    /// Waits until everything that was written so far, by anybody, has reached the disk, if the segment is a file there;
    /// otherwise there is nothing to wait for.
    ///
    /// No promise about what is written meanwhile; and after a power cut the disk may also hold newer pages beside older
    /// ones: see the crate's table of what survives.
    ///
    /// ```
    /// let segment = outlive::Segment::options().memfd("scratch")?;
    /// segment.flush()?;
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Os` if the disk fails; `Forked`, `Killed`.
    pub fn flush(&self) -> Result<()> {
        self.attached.check()?;
        let mapping = self.attached.region().mapping();
        mapping.map_or(Ok(()), |mapping| mapping.flush().map_err(|e| Error::os("msync", e)))
    }

    /// Hands the segment over to whoever is at the other end of the socket, who calls [`receive_over`](Self::receive_over):
    /// one message of 24 bytes with the descriptor. For memfds ([`Options::memfd`]), which have no name.
    ///
    /// ```
    /// use outlive::Segment;
    /// use std::os::unix::net::UnixStream;
    /// let (ours, theirs) = UnixStream::pair().expect("two sockets");
    /// let segment = Segment::options().memfd("frames")?;
    /// segment.send_over(&ours)?;
    /// let received = Segment::receive_over(&theirs)?; // in another process, usually
    /// assert_eq!(received.attachments()?.len(), 2);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported` for a segment with a name or on the heap; `Denied` if it could be truncated, or has huge pages, which could
    /// be taken out; `Closed` if the peer is gone; `NotFound` if the application has closed the descriptor; `Os`, also where
    /// the socket does not wait; `Forked`, `Killed`.
    pub fn send_over(&self, socket: &UnixStream) -> Result<()> {
        passing::send(&self.attached, socket.as_fd())
    }

    /// Attaches to the segment that the peer hands over by [`send_over`](Self::send_over). Waits for it; a peer that says
    /// nothing is a matter of [`UnixStream::set_read_timeout`].
    ///
    /// The peer need not be trusted: what it sends is refused unless it is a segment that nobody can truncate. After an
    /// error part of the message may have been read: close the socket.
    ///
    /// # Errors
    /// `Closed` if the peer is gone; `Foreign` if what comes is no such message, has no descriptor or more than one, or
    /// names another segment; `Denied` if the object could be truncated, or its pages taken out; `Os`, also for a
    /// time-out; and those of [`open`](Self::open).
    pub fn receive_over(socket: &UnixStream) -> Result<Self> {
        Self::options().receive_over(socket)
    }

    /// The address of a System V segment; none of all others.
    pub fn sysv_address(&self) -> Option<Address> {
        self.attached.region().sysv_id().and_then(sysv::address_of)
    }

    /// The segment's descriptor (open for reading only, if the attachment is read-only); none on the heap
    /// and of System V, and none if the application has closed it.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.attached.region().sysv_id().is_some() {
            return None; // what is kept is the lock file's
        }
        self.attached.kernel().and_then(|kernel| kernel.evidence.descriptor())
    }
}

impl<M: Trust> Segment<M> {
    pub(crate) fn attached(&self) -> &Arc<Attached> {
        &self.attached
    }
}

impl Deref for Segment<Trusted> {
    type Target = Segment<Checked>;

    fn deref(&self) -> &Segment<Checked> {
        let this: *const Self = self;
        // SAFETY: I8 - the two are one type but for a marker.
        unsafe { &*this.cast::<Segment<Checked>>() }
    }
}

impl<M: Trust> Clone for Segment<M> {
    fn clone(&self) -> Self {
        Self { attached: Arc::clone(&self.attached), mode: PhantomData }
    }
}

impl<M: Trust> fmt::Debug for Segment<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("owner", &self.attached.owner())
            .field("size", &self.attached.region().len())
            .finish_non_exhaustive()
    }
}

/// A process that is attached, as `Segment::attachments` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Row and generation: what it stamps into the words that it holds.
    pub owner: Owner,
    /// In its own pid namespace.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// When it attached, in nanoseconds since 1970.
    pub since: u64,
    /// By the kernel's evidence, a moment ago.
    pub alive: bool,
}

static_assertions::assert_impl_all!(Segment<Checked>: Send, Sync);
static_assertions::assert_impl_all!(Segment<Trusted>: Send, Sync);

/// Scripting deaths in one process, without `unsafe`.
pub mod testing {
    use super::Segment;
    use crate::error::Result;

    /// From now on this attachment is dead to all others, and its handles refuse with `Fault::Killed`.
    ///
    /// For segments on the heap: elsewhere the kernel says who is dead. An operation of that attachment which is under way
    /// in another thread may still complete, as no operation of a process does that was really killed: let it be idle.
    ///
    /// ```
    /// use outlive::{Error, Segment, ring::spsc, testing};
    /// let segment = Segment::heap(1 << 16)?;
    /// let other = segment.attach()?;
    /// let mut doomed = spsc::Ring::<u64>::create(&other, "r", 8)?.try_sender()?;
    /// doomed.send(1)?;
    /// testing::kill(&other)?;
    /// assert!(doomed.send(2).is_err());
    /// let ring = spsc::Ring::<u64>::open(&segment, "r")?;
    /// assert_eq!(ring.try_sender()?.position(), 1); // a successor carries on
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported` unless it is on the heap.
    pub fn kill(segment: &Segment) -> Result<()> {
        segment.attached.kill()
    }
}
