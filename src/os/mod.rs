//! Floor 0: the only place with system calls.
//!
//! **The floor's rule.** A function here does one thing of the kernel's and says what the kernel said. It
//! knows no segment, no row and no protocol; it decides nothing but what a kernel answer *means*. What is
//! not evidence is never turned into evidence: an error that does not prove anything is reported as unknown.
//!
//! Errors are [`std::io::Error`]; the floors above translate them, because they know the names and sizes
//! that a user wants to read. `EINTR` never leaves this floor.
//!
//! Nothing above this floor calls `libc`, `nix` or `memmap2`. The floor itself uses the standard library's
//! atomics, not the shim's, for state that is private to the process: the shim stands above it, and no
//! model runs through a system call.
//!
//! | module | what it asks the kernel for |
//! |---|---|
//! | [`map`] | shared mappings, and the anchor that ties a lock to an address space |
//! | [`guarded`] | mappings with inaccessible pages on both sides |
//! | [`mirror`] | pages mapped twice in a row |
//! | [`object`] | named and unnamed files, shared memory objects, memfds |
//! | [`huge`] | pages larger than the machine's |
//! | [`sysv`] | System V shared memory |
//! | [`reserve`] | space that is really there |
//! | [`ofd_lock`] | byte locks of an open file description |
//! | [`process`] | who am I, and is that process still there |
//! | [`socket`] | descriptors through a UNIX socket |
//! | [`futex`] | sleep on a word, wake its sleepers |
//! | [`membarrier`] | a barrier on every processor that runs one of ours |
//! | [`wipe`] | memory that is zero in a forked child, and the epoch that counts forks |
//! | [`per_process`] | a value worked out once a process, and again after a fork |
//! | `poison` | (of the sanitizer, under `cfg(fuzzing)`) bytes that nobody may touch |
//! | [`transfer`] | bytes between a descriptor and shared memory |
//! | [`clock`] | what time it is |
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the door")]

pub(crate) mod clock;
pub(crate) mod futex;
mod guarded;
pub(crate) mod huge;
pub(crate) mod kept;
pub(crate) mod map;
pub(crate) mod membarrier;
pub(crate) mod mirror;
pub(crate) mod object;
pub(crate) mod ofd_lock;
pub(crate) mod per_process;
#[cfg(fuzzing)]
pub(crate) mod poison;
pub(crate) mod process;
pub(crate) mod reserve;
pub(crate) mod socket;
pub(crate) mod sysv;
pub(crate) mod transfer;
pub(crate) mod wipe;

#[cfg(test)]
mod testing;
