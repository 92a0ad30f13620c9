//! Chapters for users: what to choose, and how.
//!
//! | chapter | answers |
//! |---|---|
//! | [`choosing_a_segment`] | where the memory comes from, who may find it, how long it stays |
//! | [`records_or_stream`] | which ring for which messages |
//! | [`trust`](mod@trust) | what a peer can do to us, and what it costs to rule it out |
//! | [`replacing_a_pipe`] | a program that used a pipe, before and after |
//! | [`testing_your_code`] | what you build on this crate: model-checked, fuzzed, and killed at every instruction |

#[doc = include_str!("choosing_a_segment.md")]
pub mod choosing_a_segment {}

#[doc = include_str!("records_or_stream.md")]
pub mod records_or_stream {}

#[doc = include_str!("trust.md")]
pub mod trust {}

#[doc = include_str!("replacing_a_pipe.md")]
pub mod replacing_a_pipe {}

#[doc = include_str!("testing_your_code.md")]
pub mod testing_your_code {}
