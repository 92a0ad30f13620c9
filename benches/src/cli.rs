//! The command line.

use std::process::ExitCode;

use crate::Result;
use crate::case::measure;
use crate::cpu;
use crate::groups;
use crate::harness::Setup;
use crate::{bars, report};

const USAGE: &str = "\
usage: outlive-benches GROUP        [--rounds N] [--json] [--only TEXT] [--cores A,B] [--quick]
       outlive-benches bars [TOPIC] [--rounds N] [--json] [--cores A,B] [--quick]

GROUP: limits, spsc, segment, streams
TOPIC: spsc, segment, streams, crates; all if left out. Exit status 1 if a bar is missed.
--only TEXT   only cases whose title contains it
--quick       everything a thousand times shorter: to see that it works, not how fast";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    what: What,
    rounds: usize,
    json: bool,
    only: Option<String>,
    cores: Option<cpu::Cores>,
    quick: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Group(String),
    Bars(Option<String>),
    /// Hidden: what callgrind runs.
    Count {
        who: String,
        count: u64,
    },
    Help,
}

pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Request> {
    let mut request =
        Request { what: What::Help, rounds: 15, json: false, only: None, cores: None, quick: false };
    let mut words = Vec::new();
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--rounds" => request.rounds = value()?.parse()?,
            "--json" => request.json = true,
            "--quick" => request.quick = true,
            "--only" => request.only = Some(value()?),
            "--cores" => {
                let value = value()?;
                let (a, b) = value.split_once(',').ok_or("--cores needs two numbers, as in 0,1")?;
                request.cores = Some([a.parse()?, b.parse()?]);
            }
            "-h" | "--help" => return Ok(request),
            option if option.starts_with('-') => return Err(format!("no option {option}\n{USAGE}").into()),
            _ => words.push(arg),
        }
    }
    if request.rounds == 0 {
        return Err("at least one round".into());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    request.what = match words[..] {
        ["bars"] => What::Bars(None),
        ["bars", topic] if bars::TOPICS.contains(&topic) => What::Bars(Some(topic.to_owned())),
        ["count-pairs", who, count] => What::Count { who: who.to_owned(), count: count.parse()? },
        [group] if groups::NAMES.contains(&group) => What::Group(group.to_owned()),
        [] => What::Help,
        _ => return Err(format!("no such thing: {}\n{USAGE}", words.join(" ")).into()),
    };
    Ok(request)
}

pub(crate) fn run(request: Request) -> Result<ExitCode> {
    let cores = match request.cores {
        Some(cores) => cores,
        None => cpu::pick_cores()?,
    };
    let setup = Setup { cores, quick: request.quick };
    if cfg!(debug_assertions) && !request.quick {
        eprintln!("not an optimised build: the figures say nothing, use --release");
    }
    match request.what {
        What::Help => print(&[USAGE.to_owned()]),
        What::Count { who, count } => groups::spsc::count_for(&who, count)?,
        What::Group(name) => {
            let mut cases = groups::cases(&name).ok_or("no such group")?;
            if let Some(text) = request.only {
                cases.retain(|case| case.title().contains(&text));
            }
            let table = measure(&setup, request.rounds, cases)?;
            print(&if request.json { report::json(&table) } else { report::human(&table) });
        }
        What::Bars(topic) => {
            let rows = bars::check(&setup, request.rounds, topic.as_deref())?;
            print(&if request.json { bars::json(&rows) } else { bars::human(&rows) });
            if bars::missed(&rows) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_group_with_options() {
        let request = parsed("spsc --rounds 3 --json --cores 2,5").unwrap();
        assert_eq!(request.what, What::Group("spsc".to_owned()));
        assert_eq!((request.rounds, request.json, request.cores), (3, true, Some([2, 5])));
    }

    #[test]
    fn bars_of_all_topics_or_one() {
        assert_eq!(parsed("bars").unwrap().what, What::Bars(None));
        assert_eq!(parsed("bars crates").unwrap().what, What::Bars(Some("crates".to_owned())));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            ["nothing", "bars nothing", "spsc --rounds", "spsc --rounds 0", "spsc --fast", "spsc --cores 1"]
        {
            parsed(line).expect_err(line);
        }
    }
}
