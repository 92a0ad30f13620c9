//! Benchmarks of `outlive`, beside the limits of the machine and its peers, in interleaved rounds.
//!
//! * `outlive-benches GROUP [--rounds N] [--json]` measures one group: `limits`, `spsc`, `segment`,
//!   `streams`.
//! * `outlive-benches bars [TOPIC] [--rounds N] [--json]` compares with the bars; exit status 1 on a miss.
//!
//! Every ratio is computed within one round and then the median is taken: this is what makes figures of a
//! machine whose state changes by the second comparable. The two sides run on different cores, in two
//! processes; crates that work between threads only, in two threads of one process. Each measurement checks
//! that what arrived is what was sent.

mod bars;
mod byte_loops;
mod callgrind;
mod case;
mod cli;
mod commands;
mod cpu;
mod groups;
mod harness;
mod links;
mod loops;
mod memory;
mod report;
mod stats;

use std::process::ExitCode;

/// Failures end the run; their text is for a reader.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    harness::watch_signals();
    match cli::parse(std::env::args().skip(1)).and_then(cli::run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("outlive-benches: {error}");
            ExitCode::from(2)
        }
    }
}
