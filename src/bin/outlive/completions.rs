//! `outlive completions`: for the shell.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::{Outcome, command, print};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

/// Prints the script that the shell is to read.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "outlive", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
