//! Our ring, in its two modes and by its three ways to move many messages.

use outlive::error::{RecvError, SendError};
use outlive::ring::spsc::{Receiver, Ring, Sender};
use outlive::{Checked, Payload, Segment, Trusted};

use crate::Result;
use crate::harness::Mode;
use crate::loops::{BatchRx, BatchTx, Link, Message, Rx, Tx};

pub(super) const NAMES: [&str; 2] = ["there", "back"];

/// A sealed memory object that the sides attach to, each for itself: at different addresses.
pub(crate) struct Outlive {
    segment: Segment,
    capacity: usize,
}

impl Outlive {
    /// Room for two rings of `capacity` messages of `size` bytes.
    pub(crate) fn new(capacity: usize, size: usize) -> Result<Self> {
        let bytes = (256 << 10) + 2 * capacity * size;
        let segment = Segment::options().size(bytes).rows(8).prefault(true).memfd("outlive-bench")?;
        Ok(Self { segment, capacity })
    }

    fn attach(&self) -> Segment {
        self.segment.attach().expect("a row is free")
    }

    fn ring<T: Message + Payload<Checked>>(&self, segment: &Segment, channel: usize) -> Ring<T> {
        Ring::open_or_create(segment, NAMES[channel], self.capacity).expect("there is room for two rings")
    }

    pub(crate) fn checked_tx<T: Message + Payload<Checked>>(
        &self,
        segment: &Segment,
        channel: usize,
    ) -> Sender<T> {
        self.ring(segment, channel).try_sender().expect("nobody else sends here")
    }

    pub(crate) fn checked_rx<T: Message + Payload<Checked>>(
        &self,
        segment: &Segment,
        channel: usize,
    ) -> Receiver<T> {
        self.ring(segment, channel).try_receiver().expect("nobody else receives here")
    }

    /// Both ends of one side, by one attachment.
    pub(crate) fn checked_ends(&self, tx: usize, rx: usize) -> (Sender<u64>, Receiver<u64>) {
        let segment = self.attach();
        (self.checked_tx(&segment, tx), self.checked_rx(&segment, rx))
    }
}

impl<T: Message + Payload<Checked>> Link<T> for Outlive {
    type Tx = Sender<T>;
    type Rx = Receiver<T>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> Sender<T> {
        self.checked_tx(&self.attach(), channel)
    }

    fn rx(&self, channel: usize) -> Receiver<T> {
        self.checked_rx(&self.attach(), channel)
    }

    fn ends(&self, tx: usize, rx: usize) -> (Sender<T>, Receiver<T>) {
        let segment = self.attach();
        (self.checked_tx(&segment, tx), self.checked_rx(&segment, rx))
    }
}

/// A refusal that is not for lack of room is the end.
#[cold]
#[inline(never)]
pub(super) fn refused(error: impl std::fmt::Debug) -> ! {
    panic!("the ring refuses: {error:?}")
}

macro_rules! one_at_a_time {
    ($trust:ty) => {
        impl<T: Message + Payload<$trust>> Tx<T> for Sender<T, $trust> {
            #[inline]
            fn try_send(&mut self, message: T) -> bool {
                match Sender::try_send(self, message) {
                    Ok(()) => true,
                    Err(SendError::Full(_)) => false,
                    Err(error) => refused(error),
                }
            }
        }

        impl<T: Message + Payload<$trust>> Rx<T> for Receiver<T, $trust> {
            #[inline]
            fn try_recv(&mut self) -> Option<T> {
                match Receiver::try_recv(self) {
                    Ok(message) => Some(message),
                    Err(RecvError::Empty) => None,
                    Err(error) => refused(error),
                }
            }
        }
    };
}

one_at_a_time!(Checked);
one_at_a_time!(Trusted);

fn length(max: u64) -> usize {
    usize::try_from(max).expect("no more than the capacity")
}

fn count(n: usize) -> u64 {
    u64::try_from(n).expect("64 bits hold every length")
}

/// The same memory, vouched for.
pub(crate) struct Vouched(pub(crate) Outlive);

impl Vouched {
    fn segment(&self) -> Segment<Trusted> {
        // SAFETY: the parent made this memory object, only its two children write to it, they run this
        // protocol with this payload, and nobody calls `testing::kill`.
        unsafe { self.0.attach().trust() }
    }

    fn ring<T: Message + Payload<Trusted>>(
        &self,
        segment: &Segment<Trusted>,
        channel: usize,
    ) -> Ring<T, Trusted> {
        Ring::open_or_create(segment, NAMES[channel], self.0.capacity).expect("there is room for two rings")
    }

    fn ends_of<T: Message + Payload<Trusted>>(
        &self,
        tx: usize,
        rx: usize,
    ) -> (Sender<T, Trusted>, Receiver<T, Trusted>) {
        let segment = self.segment();
        let sender = self.ring(&segment, tx).try_sender().expect("nobody else sends here");
        let receiver = self.ring(&segment, rx).try_receiver().expect("nobody else receives here");
        (sender, receiver)
    }
}

impl<T: Message + Payload<Trusted>> Link<T> for Vouched {
    type Tx = Sender<T, Trusted>;
    type Rx = Receiver<T, Trusted>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> Sender<T, Trusted> {
        self.ring(&self.segment(), channel).try_sender().expect("nobody else sends here")
    }

    fn rx(&self, channel: usize) -> Receiver<T, Trusted> {
        self.ring(&self.segment(), channel).try_receiver().expect("nobody else receives here")
    }

    fn ends(&self, tx: usize, rx: usize) -> (Sender<T, Trusted>, Receiver<T, Trusted>) {
        self.ends_of(tx, rx)
    }
}

impl BatchTx for Sender<u64, Trusted> {
    #[inline]
    fn send_some(&mut self, first: u64, max: u64) -> u64 {
        match self.try_reserve(length(max)) {
            Ok(mut grant) => {
                for (slot, n) in grant.as_mut_slice().iter_mut().zip(first..) {
                    *slot = n;
                }
                count(grant.commit())
            }
            Err(SendError::Full(())) => 0,
            Err(error) => refused(error),
        }
    }
}

impl BatchRx for Receiver<u64, Trusted> {
    #[inline]
    fn recv_some(&mut self, max: u64) -> (u64, u64) {
        match self.try_read(length(max)) {
            Ok(items) => {
                let sum = items.iter().fold(0_u64, |sum, n| sum.wrapping_add(*n));
                let received = count(items.len());
                items.release();
                (received, sum)
            }
            Err(RecvError::Empty) => (0, 0),
            Err(error) => refused(error),
        }
    }
}

/// Grants and items: no copy, but each message is looked at by value.
pub(crate) struct Grants(pub(crate) Outlive);
/// Whole slices, copied in and out.
pub(crate) struct Slices(pub(crate) Outlive);

/// An end that moves messages by grants.
pub(crate) struct ByGrant<End>(End);

/// An end that moves messages by slices, with the buffer to copy from and to.
pub(crate) struct BySlice<End>(End, Box<[u64; 1024]>);

impl Link<u64> for Grants {
    type Tx = ByGrant<Sender<u64>>;
    type Rx = ByGrant<Receiver<u64>>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> Self::Tx {
        ByGrant(self.0.tx(channel))
    }

    fn rx(&self, channel: usize) -> Self::Rx {
        ByGrant(self.0.rx(channel))
    }
}

impl Link<u64> for Slices {
    type Tx = BySlice<Sender<u64>>;
    type Rx = BySlice<Receiver<u64>>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> Self::Tx {
        BySlice(self.0.tx(channel), Box::new([0; 1024]))
    }

    fn rx(&self, channel: usize) -> Self::Rx {
        BySlice(self.0.rx(channel), Box::new([0; 1024]))
    }
}

impl BatchTx for ByGrant<Sender<u64>> {
    #[inline]
    fn send_some(&mut self, first: u64, max: u64) -> u64 {
        match self.0.try_reserve(length(max)) {
            Ok(mut grant) => {
                grant.extend(first..first + max);
                count(grant.commit())
            }
            Err(SendError::Full(())) => 0,
            Err(error) => refused(error),
        }
    }
}

impl BatchRx for ByGrant<Receiver<u64>> {
    #[inline]
    fn recv_some(&mut self, max: u64) -> (u64, u64) {
        match self.0.try_read(length(max)) {
            Ok(items) => {
                let received = count(items.len());
                let sum = items.iter().fold(0_u64, u64::wrapping_add);
                items.release();
                (received, sum)
            }
            Err(RecvError::Empty) => (0, 0),
            Err(error) => refused(error),
        }
    }
}

impl BatchTx for BySlice<Sender<u64>> {
    #[inline]
    fn send_some(&mut self, first: u64, max: u64) -> u64 {
        let values = &mut self.1[..length(max)];
        for (value, n) in values.iter_mut().zip(first..) {
            *value = n;
        }
        match self.0.try_send_slice(values) {
            Ok(sent) => count(sent),
            Err(SendError::Full(())) => 0,
            Err(error) => refused(error),
        }
    }
}

impl BatchRx for BySlice<Receiver<u64>> {
    #[inline]
    fn recv_some(&mut self, max: u64) -> (u64, u64) {
        match self.0.try_read(length(max)) {
            Ok(items) => {
                let received = items.copy_to(&mut self.1[..]);
                items.release();
                let sum = self.1[..received].iter().fold(0_u64, |sum, n| sum.wrapping_add(*n));
                (count(received), sum)
            }
            Err(RecvError::Empty) => (0, 0),
            Err(error) => refused(error),
        }
    }
}
