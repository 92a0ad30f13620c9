//! Promise: the check finds what is broken, says nothing about what is not, whoever works meanwhile, and reads any bytes.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

#[path = "check/sound.rs"]
mod sound;
