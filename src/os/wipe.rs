//! Memory that is zero in a forked child, and the epoch that counts forks.
//!
//! A cell is 128 bytes, 128-aligned, in a private page with `MADV_WIPEONFORK`: what is written there is true
//! for this process only. A word that says "this handle is attached" reads 0 in a child without anybody
//! having to run there, which no `pthread_atfork` handler can promise for a raw `clone`.
//!
//! The bookkeeping must not trust the fork either: another thread may have held its lock. So it is a *book*
//! with an epoch, valid only where a word of a wiped cell, the mark, still holds that epoch. In a child the
//! mark is 0; the child never touches the old book's lock and opens the next book. What was free in the old
//! one is lost to that child: at most what its ancestors had given back.
//!
//! Children that share their parent's memory (`vfork`, `clone` with `CLONE_VM`) share its cells and its
//! epoch.
//!
//! # Invariants
//!
//! * **I1**: a cell lies in a page of [`page`], is aligned to its size, and is mapped for as long as the
//!   process
//!   and its forked children live: pages are never unmapped.
//! * **I2**: words of cells are accessed as atomics only.
//! * **I3**: a book, once `CURRENT`, is never freed or moved.
//! * **I4**: a free cell is zero.
//!
//! # Orderings
//!
//! | tag | where | pairs with | why |
//! |---|---|---|---|
//! | `[B1]` | `CURRENT` Acquire, in [`book`] | `[B2]` | the book's fields and its mark are seen whole |
//! | `[B2]` | `CURRENT` CAS AcqRel / Acquire, in [`open_next`] | `[B1]`, itself | publishes the book and its mark |
//! | `[B3]` | marks and cells Relaxed | `[B2]`, the lock of `free` | a cell has one owner, handed on by the lock |

use std::io;
use std::num::NonZero;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use super::map::page_size;

/// 128 bytes. Two cells never share a cache line, nor the pair of lines that is fetched together.
type Cell = [u64; 16];

/// What this process knows about its cells.
struct Book {
    /// 1 in the first process that asked, and one more wherever a fork lies in between.
    epoch: u64,
    /// Its first word holds `epoch` in the process whose book this is, and 0 in its children.
    mark: NonNull<Cell>,
    free: Mutex<Vec<Spare>>,
}

// SAFETY: the mark points to a cell, which any thread may access by I1 and I2.
unsafe impl Send for Book {}
// SAFETY: as for Send.
unsafe impl Sync for Book {}

/// A cell that nobody uses.
struct Spare(NonNull<Cell>);

// SAFETY: a cell belongs to the process, not to a thread (I1).
unsafe impl Send for Spare {}

static CURRENT: AtomicPtr<Book> = AtomicPtr::new(ptr::null_mut());

/// A cell, all zero, until [`give_back`]. In every forked child it reads zero too, and is the child's own.
///
/// # Errors
///
/// What `mmap` or `madvise` says; `InvalidInput` from kernels before 4.14, which cannot wipe.
pub(crate) fn cell() -> io::Result<NonNull<Cell>> {
    let book = book()?;
    let mut free = book.free.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Spare(cell)) = free.pop() {
        return Ok(cell);
    }
    let (first, others) = page()?;
    free.extend(others);
    Ok(first)
}

/// Zeroes the cell and lets others have it. Nobody may use it any more. A child may give back what its parent
/// took: its copy of the cell is another.
pub(crate) fn give_back(cell: NonNull<Cell>) {
    for at in 0..16 {
        word(cell, at).store(0, Ordering::Relaxed); // [B3]
    }
    // Without a book the cell is lost, as it would be in any process that does not ask again.
    if let Ok(book) = book() {
        book.free.lock().unwrap_or_else(PoisonError::into_inner).push(Spare(cell));
    }
}

/// A number that is the same for as long as this is the same process, and another in every forked child than
/// in its parent. (Two children of one parent may have the same.)
///
/// # Errors
///
/// As [`cell`], on the first call in a process only.
pub(crate) fn epoch() -> io::Result<u64> {
    Ok(book()?.epoch)
}

fn book() -> io::Result<&'static Book> {
    let latest = CURRENT.load(Ordering::Acquire); // [B1]
    // SAFETY: null or a book that stays, by I3.
    let latest = unsafe { latest.as_ref() };
    match latest {
        Some(book) if word(book.mark, 0).load(Ordering::Relaxed) == book.epoch => Ok(book), // [B3]
        _ => open_next(latest),
    }
}

/// The book of this process, in place of the parent's or of none.
#[cold]
fn open_next(last: Option<&'static Book>) -> io::Result<&'static Book> {
    let mut free = Vec::new();
    let (epoch, mark) = if let Some(last) = last {
        // The old mark, wiped. Threads that come here together write the same number there.
        (last.epoch + 1, last.mark)
    } else {
        let (mark, others) = page()?;
        free.extend(others);
        (1, mark)
    };
    word(mark, 0).store(epoch, Ordering::Relaxed); // [B3]
    let ours = Box::into_raw(Box::new(Book { epoch, mark, free: Mutex::new(free) }));
    let expected = last.map_or(ptr::null_mut(), |last| ptr::from_ref(last).cast_mut());
    let winner = match CURRENT.compare_exchange(expected, ours, Ordering::AcqRel, Ordering::Acquire) {
        // [B2]
        Ok(_) => ours,
        Err(winner) => {
            // SAFETY: made by `Box::into_raw` above, and never published.
            let ours = unsafe { Box::from_raw(ours) };
            if last.is_none() {
                give_back(ours.mark);
            }
            for Spare(cell) in ours.free.into_inner().unwrap_or_else(PoisonError::into_inner) {
                give_back(cell);
            }
            winner
        }
    };
    // SAFETY: `CURRENT` is never null again, and its books stay, by I3.
    Ok(unsafe { &*winner })
}

/// A fresh page as cells: the first, and the others.
fn page() -> io::Result<(NonNull<Cell>, impl Iterator<Item = Spare>)> {
    let len = NonZero::new(page_size()).unwrap_or(NonZero::<usize>::MIN);
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let start = unsafe { mmap_anonymous(None, len, access, MapFlags::MAP_PRIVATE) }?;
    // SAFETY: the page was mapped above, and nobody else knows it.
    if let Err(errno) = unsafe { madvise(start, len.get(), MmapAdvise::MADV_WIPEONFORK) } {
        // SAFETY: as above.
        unsafe { munmap(start, len.get()) }?;
        return Err(errno.into());
    }
    let first = start.cast::<Cell>();
    // SAFETY: the page holds that many cells (I1); it is aligned far beyond one.
    let others = (1..len.get() / size_of::<Cell>()).map(move |at| Spare(unsafe { first.add(at) }));
    Ok((first, others))
}

/// A word of a cell. `at` is below 16.
fn word(cell: NonNull<Cell>, at: usize) -> &'static AtomicU64 {
    debug_assert!(at < 16);
    // SAFETY: inside the cell.
    let word = unsafe { cell.as_ptr().cast::<u64>().add(at) };
    // SAFETY: mapped and aligned by I1, only accessed as an atomic by I2.
    unsafe { AtomicU64::from_ptr(word) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::Child;

    fn is_zero(cell: NonNull<Cell>) -> bool {
        (0..16).all(|at| word(cell, at).load(Ordering::Relaxed) == 0)
    }

    #[test]
    fn a_cell_is_zero_in_a_child_and_stays_what_it_is_here() {
        let cell = cell().unwrap();
        assert!(is_zero(cell));
        assert_eq!(cell.as_ptr().addr() % 128, 0);
        word(cell, 15).store(7, Ordering::Relaxed);
        let child = Child::spawn(|| {
            let was = is_zero(cell);
            word(cell, 15).store(8, Ordering::Relaxed);
            let grandchild = Child::spawn(|| is_zero(cell));
            was && grandchild.succeeds()
        });
        assert!(child.succeeds());
        assert_eq!(word(cell, 15).load(Ordering::Relaxed), 7);
        give_back(cell);
    }

    #[test]
    fn a_cell_that_is_given_back_comes_again_and_is_zero() {
        let inherited = cell().unwrap();
        // In a child, where no other test takes it first.
        let child = Child::spawn(|| {
            let Ok(one) = cell() else { return false };
            word(one, 3).store(9, Ordering::Relaxed);
            give_back(one);
            let again = cell().is_ok_and(|two| two == one && is_zero(two));
            give_back(inherited);
            again && cell().is_ok_and(|two| two == inherited && is_zero(two))
        });
        assert!(child.succeeds());
        give_back(inherited);
    }

    #[test]
    fn all_cells_are_different() {
        let child = Child::spawn(|| {
            let Ok(mut all) =
                (0..200).map(|_| cell().map(|cell| cell.as_ptr().addr())).collect::<io::Result<Vec<_>>>()
            else {
                return false;
            };
            all.sort_unstable();
            all.windows(2).all(|pair| pair[1] - pair[0] >= size_of::<Cell>())
        });
        assert!(child.succeeds());
    }

    #[test]
    fn a_lock_held_at_the_fork_does_not_hold_up_the_child() {
        let held = book().unwrap().free.lock().unwrap();
        let child = Child::spawn(|| cell().is_ok_and(is_zero));
        drop(held);
        assert!(child.succeeds());
    }

    #[test]
    fn the_epoch_changes_with_each_fork_only() {
        let ours = epoch().unwrap();
        let child = Child::spawn(|| {
            let Ok(theirs) = epoch() else { return false };
            let grandchild = Child::spawn(|| epoch().is_ok_and(|its| its > theirs));
            theirs > ours && epoch().is_ok_and(|again| again == theirs) && grandchild.succeeds()
        });
        assert!(child.succeeds());
        assert_eq!(epoch().unwrap(), ours);
    }

    #[test]
    fn threads_that_open_the_book_together_get_one() {
        // In a child the book has to be opened anew.
        let child = Child::spawn(|| {
            std::thread::scope(|scope| {
                let threads =
                    [(); 4].map(|()| scope.spawn(|| (epoch().ok(), cell().ok().map(NonNull::addr))));
                let found = threads.map(|thread| thread.join().ok());
                let one_epoch = found
                    .iter()
                    .all(|each| each.is_some_and(|(epoch, _)| epoch == found[0].and_then(|first| first.0)));
                let mut cells = found.map(|each| each.and_then(|(_, cell)| cell));
                cells.sort_unstable();
                one_epoch && cells[0].is_some() && cells.windows(2).all(|pair| pair[0] != pair[1])
            })
        });
        assert!(child.succeeds());
    }
}
