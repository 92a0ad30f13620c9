//! The plain ring: Lamport's, with cached indices, in shared memory. It survives nothing, checks nothing and
//! never sleeps: what a ring costs at least.
//!
//! # Invariants
//!
//! * `I1` Line 0 is the count of messages ever sent, line 1 the count of messages ever received; each has one
//!   writer, and `received <= sent <= received + capacity`.
//! * `I2` The slots of messages `received..sent` belong to the receiver, the others to the sender. They lie
//!   from byte [`DATA`] on; message `n` is in slot `n % capacity`.
//! * `I3` The pointers of an end lie in the memory that it keeps alive.
//!
//! | ordering | where | pairs with |
//! |---|---|---|
//! | `[R1]` Release | `sent`, `received`: publish what was written, or read | `[R2]` |
//! | `[R2]` Acquire | a look at the other side's count | `[R1]` |

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::harness::Mode;
use crate::loops::{BatchRx, BatchTx, Link, Message, Rx, Tx};
use crate::memory::SharedMemory;

/// Byte offset of the slots.
const DATA: usize = 4096;
const SENT: usize = 0;
const RECEIVED: usize = 1;

/// Two plain rings.
pub(crate) struct Reference<T> {
    channels: [Arc<SharedMemory>; 2],
    capacity: u64,
    payload: PhantomData<fn(T)>,
}

impl<T: Message> Reference<T> {
    /// `capacity` must be a power of two.
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        assert!(capacity.is_power_of_two());
        let memory = || SharedMemory::new(DATA + capacity * size_of::<T>());
        let channels = [Arc::new(memory()?), Arc::new(memory()?)];
        Ok(Self { channels, capacity: capacity.try_into()?, payload: PhantomData })
    }

    fn end(&self, channel: usize) -> End<T> {
        let memory = Arc::clone(&self.channels[channel]);
        End {
            slots: memory.at(DATA, self.slots()),
            sent: NonNull::from(memory.line(SENT)),
            received: NonNull::from(memory.line(RECEIVED)),
            mask: self.slots() - 1,
            capacity: self.capacity,
            mine: 0,
            theirs: 0,
            _memory: memory,
        }
    }

    fn slots(&self) -> usize {
        usize::try_from(self.capacity).expect("it came from a usize")
    }
}

impl<T: Message> Link<T> for Reference<T> {
    type Tx = Sender<T>;
    type Rx = Receiver<T>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> Sender<T> {
        Sender(self.end(channel))
    }

    fn rx(&self, channel: usize) -> Receiver<T> {
        Receiver(self.end(channel))
    }
}

/// One side's private view: its own count, and what it last saw of the other's.
struct End<T> {
    slots: NonNull<T>,
    sent: NonNull<AtomicU64>,
    received: NonNull<AtomicU64>,
    mask: usize,
    capacity: u64,
    mine: u64,
    theirs: u64,
    _memory: Arc<SharedMemory>,
}

impl<T: Message> End<T> {
    #[inline]
    fn sent(&self) -> &AtomicU64 {
        // SAFETY: I3; any bytes are a valid atomic.
        unsafe { self.sent.as_ref() }
    }

    #[inline]
    fn received(&self) -> &AtomicU64 {
        // SAFETY: I3; any bytes are a valid atomic.
        unsafe { self.received.as_ref() }
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked to less than the capacity, a usize")]
    #[inline]
    fn slot(&self, n: u64) -> NonNull<T> {
        // SAFETY: the masked index is less than the capacity, and so many slots there are.
        unsafe { self.slots.add(n as usize & self.mask) }
    }
}

/// The sending end.
pub(crate) struct Sender<T>(End<T>);

impl<T: Message> Sender<T> {
    /// Whether `n` slots are free.
    #[inline]
    fn has_room(&mut self, n: u64) -> bool {
        let end = &mut self.0;
        if end.mine - end.theirs + n > end.capacity {
            end.theirs = end.received().load(Ordering::Acquire); // [R2]
        }
        end.mine - end.theirs + n <= end.capacity
    }

    #[inline]
    fn publish(&mut self, n: u64) {
        self.0.mine += n;
        self.0.sent().store(self.0.mine, Ordering::Release); // [R1]
    }
}

impl<T: Message> Tx<T> for Sender<T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        let end = &mut self.0;
        let n = end.mine;
        if n - end.theirs == end.capacity {
            end.theirs = end.received().load(Ordering::Acquire); // [R2]
            if n - end.theirs == end.capacity {
                return false;
            }
        }
        let slot = end.slot(n);
        // SAFETY: I2: the slot is free, hence ours.
        unsafe { slot.write(message) };
        end.mine = n + 1;
        end.sent().store(n + 1, Ordering::Release); // [R1]
        true
    }
}

impl BatchTx for Sender<u64> {
    #[inline]
    fn send_some(&mut self, first: u64, max: u64) -> u64 {
        if !self.has_room(max) {
            return 0;
        }
        let slot = self.0.slot(self.0.mine).cast::<MaybeUninit<u64>>();
        let count = usize::try_from(max).expect("no more than the capacity");
        // SAFETY: I2: these slots are free, hence ours. Whole batches that divide the capacity never wrap.
        let slots = unsafe { slice::from_raw_parts_mut(slot.as_ptr(), count) };
        for (slot, n) in slots.iter_mut().zip(first..) {
            slot.write(n);
        }
        self.publish(max);
        max
    }
}

/// The receiving end.
pub(crate) struct Receiver<T>(End<T>);

impl<T: Message> Receiver<T> {
    /// Whether `n` messages are there.
    #[inline]
    fn has(&mut self, n: u64) -> bool {
        let end = &mut self.0;
        if end.theirs - end.mine < n {
            end.theirs = end.sent().load(Ordering::Acquire); // [R2]
        }
        end.theirs - end.mine >= n
    }

    #[inline]
    fn release(&mut self, n: u64) {
        self.0.mine += n;
        self.0.received().store(self.0.mine, Ordering::Release); // [R1]
    }
}

impl<T: Message> Rx<T> for Receiver<T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        let end = &mut self.0;
        let n = end.mine;
        if n == end.theirs {
            end.theirs = end.sent().load(Ordering::Acquire); // [R2]
            if n == end.theirs {
                return None;
            }
        }
        let slot = end.slot(n);
        // SAFETY: I2: the message was sent and not received: the slot is ours, and `[R2]` has made it visible.
        let message = unsafe { slot.read() };
        end.mine = n + 1;
        end.received().store(n + 1, Ordering::Release); // [R1]
        Some(message)
    }
}

impl BatchRx for Receiver<u64> {
    #[inline]
    fn recv_some(&mut self, max: u64) -> (u64, u64) {
        if !self.has(max) {
            return (0, 0);
        }
        let slot = self.0.slot(self.0.mine);
        let count = usize::try_from(max).expect("no more than the capacity");
        // SAFETY: I2: these messages were sent and not received. Whole batches never wrap, as above.
        let slots = unsafe { slice::from_raw_parts(slot.as_ptr(), count) };
        let sum = slots.iter().fold(0_u64, |sum, n| sum.wrapping_add(*n));
        self.release(max);
        (max, sum)
    }
}

// SAFETY: an end is one side's private state; what it points to is shared by the invariants above.
unsafe impl<T: Send> Send for End<T> {}
