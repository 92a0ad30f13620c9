//! The `outlive` command: thin over the public API.
//!
//! One module a subcommand; each has its `Arguments` and a `run` that says how the process ends.

mod demo;
mod size;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a subcommand ends with: a status, or an error that `main` prints.
pub(crate) type Outcome<T = ExitCode> = Result<T, Box<dyn Error + Send + Sync>>;

/// Shared-memory structures that outlive the processes using them.
#[derive(Debug, Parser)]
#[command(name = "outlive", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stream a file between two processes through shared memory while both are killed with SIGKILL
    Demo(demo::Arguments),
    /// A process that `demo` starts
    #[command(hide = true)]
    DemoPart(demo::PartArguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::DemoPart(arguments) => demo::run_part(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

/// Says on standard error what is wrong. A closed standard error is nobody's loss.
pub(crate) fn complain(what: &dyn core::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "outlive: {what}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
