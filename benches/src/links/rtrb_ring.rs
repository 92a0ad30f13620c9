//! `rtrb`: the fastest ring between threads that there is in Rust. It cannot live in shared memory.

use std::sync::Mutex;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::harness::Mode;
use crate::loops::{BatchRx, BatchTx, Link, Message, Rx, Tx};

/// An end that waits to be taken.
type Waiting<End> = Mutex<Option<End>>;

/// Both ends of one ring.
type Ends<T> = (Waiting<Producer<T>>, Waiting<Consumer<T>>);

/// Two of its rings.
pub(crate) struct Rtrb<T>([Ends<T>; 2]);

impl<T: Message> Rtrb<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self([0, 1].map(|_| {
            let (producer, consumer) = RingBuffer::new(capacity);
            (Mutex::new(Some(producer)), Mutex::new(Some(consumer)))
        }))
    }
}

fn take<End>(waiting: &Waiting<End>) -> End {
    waiting.lock().expect("no side panics while it takes").take().expect("each end is taken once")
}

impl<T: Message> Link<T> for Rtrb<T> {
    type Tx = Producer<T>;
    type Rx = Consumer<T>;
    const MODE: Mode = Mode::Threads;

    fn tx(&self, channel: usize) -> Producer<T> {
        take(&self.0[channel].0)
    }

    fn rx(&self, channel: usize) -> Consumer<T> {
        take(&self.0[channel].1)
    }
}

impl<T: Message> Tx<T> for Producer<T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        self.push(message).is_ok()
    }
}

impl<T: Message> Rx<T> for Consumer<T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        self.pop().ok()
    }
}

impl BatchTx for Producer<u64> {
    #[inline]
    fn send_some(&mut self, first: u64, max: u64) -> u64 {
        let count = usize::try_from(max).expect("no more than the capacity");
        match self.write_chunk_uninit(count) {
            Ok(chunk) => {
                chunk.fill_from_iter(first..first + max);
                max
            }
            Err(_) => 0,
        }
    }
}

impl BatchRx for Consumer<u64> {
    #[inline]
    fn recv_some(&mut self, max: u64) -> (u64, u64) {
        let count = usize::try_from(max).expect("no more than the capacity");
        let Ok(chunk) = self.read_chunk(count) else {
            return (0, 0);
        };
        let (head, tail) = chunk.as_slices();
        let sum = head.iter().chain(tail).fold(0_u64, |sum, n| sum.wrapping_add(*n));
        chunk.commit_all();
        (max, sum)
    }
}
