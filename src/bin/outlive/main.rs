//! The `outlive` command: thin over the public API.
//!
//! One module a subcommand; each has its `Arguments` and a `run` that says how the process ends. What they share:
//! [`find`] (which segments there are), [`view`] (what is shown of one, and `--json`), [`table`], [`size`], [`time`],
//! [`exit`] (what errors mean to a shell), [`interrupt`] (Ctrl-C), [`random`].

mod check;
mod completions;
mod demo;
mod exit;
mod find;
mod interrupt;
mod ls;
mod random;
mod reap;
mod rm;
mod show;
mod size;
mod soak;
mod table;
mod time;
mod transfer;
mod view;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use exit::{Exit, Failure};

/// This program's own executable, even after the file was replaced.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

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
    /// Send a file, or standard input, through a segment to `recv`
    Send(transfer::SendArguments),
    /// Receive what `send` sends
    Recv(transfer::RecvArguments),
    /// List segments
    Ls(ls::Arguments),
    /// Show a segment: who is attached, its objects, who uses its rings and how full they are
    Show(show::Arguments),
    /// Check segments: is anything in them broken?
    Check(check::Arguments),
    /// Remove segments
    Rm(rm::Arguments),
    /// Recover what dead processes hold, and remove temporary segments that nobody is attached to
    Reap(reap::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Stream a file between two processes through shared memory while both are killed with SIGKILL
    Demo(demo::Arguments),
    /// A process that `demo` starts
    #[command(hide = true)]
    DemoPart(demo::PartArguments),
    /// Have processes work on every structure while they are killed with SIGKILL, and count what is lost
    ///
    /// Prints how often each operation was done, the kills, the recoveries, and four numbers that have to be zero: what was
    /// lost; what came twice although its consumption was complete; what was leaked: rows, objects, memory, descriptors,
    /// names; and the operations that were blocked for more than a second although nothing kept them. If one of them is not
    /// zero, or anything else went wrong, the exit status is 1, and standard error says what it was.
    Soak(soak::Arguments),
    /// A process that `soak` starts
    #[command(hide = true)]
    SoakWorker(soak::WorkerArguments),
}

/// The command line, with the exit codes at the end of every help text.
pub(crate) fn command() -> clap::Command {
    Cli::command()
        .mut_subcommands(|subcommand| subcommand.after_help(exit::HELP))
        .after_help(exit::HELP)
        .after_long_help(format!("{}\n\n{}", view::SCHEMA, exit::HELP))
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match cli.command {
        Command::Send(arguments) => transfer::run_send(&arguments),
        Command::Recv(arguments) => transfer::run_recv(&arguments),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Rm(arguments) => rm::run(&arguments),
        Command::Reap(arguments) => reap::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::DemoPart(arguments) => demo::run_part(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::SoakWorker(arguments) => soak::run_worker(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        let exit = Exit::of(&*error);
        if exit != Exit::Unread {
            complain(&error);
        }
        ended(exit)
    })
}

/// The status of a failure.
pub(crate) fn ended(exit: Exit) -> ExitCode {
    ExitCode::from(exit.code())
}

/// Writes to standard output. That nobody reads it any more is a quiet end.
pub(crate) fn print(text: &str) -> Outcome<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Unread, "nobody reads standard output").into())
        }
        other => Ok(other?),
    }
}

/// Says on standard error what is wrong: names in it may be of others. A closed standard error is nobody's loss.
pub(crate) fn complain(what: &dyn core::fmt::Display) {
    let _ = writeln!(io::stderr(), "outlive: {}", table::printable(&what.to_string()));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
