//! Atomics of a model: loom's, repaired, and a chance to die before every write.
//!
//! # The repair
//! loom remembers only the last access to each atomic. A load by one thread makes it forget the load of another, so
//! when the first one writes, the race with the other is lost and that order is never tried (tokio-rs/loom issues
//! 166 and 392). Every algorithm here is a load followed by a compare-exchange: exactly that pattern. So each load
//! first writes a *shadow* of the word. It is Relaxed and never read, so that it orders nothing in the model; it
//! only makes the loads of one word depend on each other again. `loom-tests/tests/lost.rs` fails without it.
//!
//! # The mirror
//! A ghost (see [`life`]) runs only because its stack must unwind. The model must not see it: a loom operation in
//! the middle of unwinding would let other threads run while the system's thread counts as panicking. So its writes
//! do nothing, and its loads read the newest value from a plain copy.
//!
//! # Orderings
//! | tag | operation         | order   | pairs | because                                                          |
//! |-----|-------------------|---------|-------|------------------------------------------------------------------|
//! | S1  | write the shadow  | Relaxed | -     | must order nothing                                               |
//! | S2  | the kernel's look | Relaxed | -     | makes it depend on every write; the value is the mirror's        |
//! | S3  | the mirror        | Relaxed | -     | one thread of the system; not part of the model                  |

use core::fmt;
use core::sync::atomic::Ordering;

use super::life;

macro_rules! atomic {
    ($name:ident, $integer:ty, $label:literal) => {
        #[doc = concat!("An atomic `", $label, "`: `core`'s in ordinary builds, the model checker's here.")]
        ///
        /// Every write is a crash point of the process that makes it.
        pub struct $name {
            word: loom::sync::atomic::$name,
            shadow: loom::sync::atomic::AtomicBool,
            mirror: core::sync::atomic::$name,
        }

        impl $name {
            /// A new atomic of the running iteration. Not `const`, as the one of ordinary builds is.
            #[track_caller]
            #[must_use]
            pub fn new(value: $integer) -> Self {
                Self {
                    word: loom::sync::atomic::$name::new(value),
                    shadow: loom::sync::atomic::AtomicBool::new(false),
                    mirror: core::sync::atomic::$name::new(value),
                }
            }

            /// The newest value, without a step of the model.
            fn mirrored(&self) -> $integer {
                self.mirror.load(Ordering::Relaxed) // [S3]
            }

            /// After a write of `new` over `old`.
            fn written(&self, old: $integer, new: $integer) -> $integer {
                self.mirror.store(new, Ordering::Relaxed); // [S3]
                old
            }

            /// Loads the value.
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $integer {
                if life::is_ghost() {
                    return self.mirrored();
                }
                // loom 166, 392: a load makes loom forget earlier loads by others.
                self.shadow.store(false, Ordering::Relaxed); // [S1]
                self.word.load(order)
            }

            /// Stores a value. A crash point.
            #[track_caller]
            pub fn store(&self, value: $integer, order: Ordering) {
                if life::may_write() {
                    self.word.store(value, order);
                    self.written(value, value);
                }
            }

            /// Stores a value and returns the one before. A crash point.
            #[track_caller]
            pub fn swap(&self, value: $integer, order: Ordering) -> $integer {
                if !life::may_write() {
                    return self.mirrored();
                }
                let old = self.word.swap(value, order);
                self.written(old, value)
            }

            /// Stores `new` if the value is `current`. A crash point.
            ///
            /// # Errors
            /// The value that it is instead. A ghost's always fails.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $integer,
                new: $integer,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$integer, $integer> {
                if !life::may_write() {
                    return Err(self.mirrored());
                }
                let old = self.word.compare_exchange(current, new, success, failure)?;
                Ok(self.written(old, new))
            }

            /// Adds, wrapping around, and returns the value before. A crash point.
            #[track_caller]
            pub fn fetch_add(&self, value: $integer, order: Ordering) -> $integer {
                if !life::may_write() {
                    return self.mirrored();
                }
                let old = self.word.fetch_add(value, order);
                self.written(old, old.wrapping_add(value))
            }

            /// Subtracts, wrapping around, and returns the value before. A crash point.
            #[track_caller]
            pub fn fetch_sub(&self, value: $integer, order: Ordering) -> $integer {
                if !life::may_write() {
                    return self.mirrored();
                }
                let old = self.word.fetch_sub(value, order);
                self.written(old, old.wrapping_sub(value))
            }

            /// Sets bits and returns the value before. A crash point.
            #[track_caller]
            pub fn fetch_or(&self, value: $integer, order: Ordering) -> $integer {
                if !life::may_write() {
                    return self.mirrored();
                }
                let old = self.word.fetch_or(value, order);
                self.written(old, old | value)
            }

            /// Keeps only the bits of `value`, and returns the value before. A crash point.
            #[track_caller]
            pub fn fetch_and(&self, value: $integer, order: Ordering) -> $integer {
                if !life::may_write() {
                    return self.mirrored();
                }
                let old = self.word.fetch_and(value, order);
                self.written(old, old & value)
            }

            /// Stores the greater value and returns the one before. A crash point.
            #[track_caller]
            pub fn fetch_max(&self, value: $integer, order: Ordering) -> $integer {
                if !life::may_write() {
                    return self.mirrored();
                }
                let old = self.word.fetch_max(value, order);
                self.written(old, old.max(value))
            }
        }

        impl Default for $name {
            #[track_caller]
            fn default() -> Self {
                Self::new(0)
            }
        }

        /// The newest value, without a step of the model.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.mirrored(), f)
            }
        }
    };
}

atomic!(AtomicU32, u32, "u32");
atomic!(AtomicU64, u64, "u64");

impl AtomicU32 {
    /// What the kernel sees of a futex word: the newest value, without any synchronisation, in one step with
    /// whatever the caller does next to its list of sleepers.
    ///
    /// No read-modify-write of the word itself: loom keeps no order between one and a plain store that races with it,
    /// so that the store could be lost.
    pub(super) fn seen_by_kernel(&self) -> u32 {
        let _ = self.load(Ordering::Relaxed); // [S2]
        self.lock_bucket();
        self.mirrored()
    }

    /// A step that depends on every other futex call for this word, as the kernel's lock for its sleepers does.
    pub(super) fn lock_bucket(&self) {
        self.shadow.store(false, Ordering::Relaxed); // [S1]
    }
}

impl AtomicU64 {
    /// [`fetch_max`](Self::fetch_max) by the kernel: no step of any process, and no crash point.
    #[track_caller]
    pub(super) fn fetch_max_by_kernel(&self, value: u64, order: Ordering) {
        let old = self.word.fetch_max(value, order);
        self.written(old, old.max(value));
    }
}
