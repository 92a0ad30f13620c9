//! All cases, on all processors, and the table of what was done.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::panic::catch_unwind;
use std::process::ExitCode;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, alarm, pipe};

use super::case::{Case, Counts, Tier};
use super::common::process::{Forked, fork, leave};
use super::coverage;
use super::judge::{last_words, listen_to_panics};

/// After so many seconds one case has hung.
const PATIENCE: u32 = if cfg!(debug_assertions) { 240 } else { 120 };

/// One operation of so many is run where each takes nine times the steps.
const SAMPLE: usize = 4;

/// So many failures of one case are told.
const MOST: usize = 6;

/// Runs them; arguments are names, or parts of them.
pub(crate) fn all(groups: &[&[Case]]) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |case: &&Case| wanted.is_empty() || wanted.iter().any(|part| case.name.contains(part));
    let all: Vec<&Case> = groups.iter().copied().flatten().collect();
    let bounded = cfg!(debug_assertions) && wanted.is_empty() && std::env::var_os("OUTLIVE_KILL").is_none();
    let cases: Vec<&Case> =
        all.iter().copied().filter(is_wanted).step_by(if bounded { SAMPLE } else { 1 }).collect();
    if bounded {
        println!("without optimisation: each {SAMPLE}th operation only; --release has all of them");
    }
    let cpus = processors();
    let start = |(n, &cpu)| Worker::start(&cases, (n, cpus.len()), cpu);
    let workers: Vec<Worker> = cpus.iter().enumerate().map(start).collect();
    println!(
        "{:36} {:>9} {:>7} {:>10} {:>8} {:>6} {:>8}",
        "operation", "steps", "states", "recoveries", "doubles", "reals", "failures"
    );
    let mut rows: Vec<(usize, String)> = Vec::new();
    let mut failures = Vec::new();
    if wanted.is_empty() {
        coverage::finds_what_is_planted();
        failures.extend(coverage::findings(&all));
    }
    for worker in workers {
        worker.finish(&cases, &mut rows, &mut failures);
    }
    rows.sort();
    let mut total = [0_usize; 6];
    for (case, row) in &rows {
        let numbers: Vec<usize> = row.split(' ').map(|number| number.parse().unwrap()).collect();
        print_row(cases[*case].name, &numbers);
        total.iter_mut().zip(&numbers).for_each(|(total, number)| *total += number);
    }
    print_row(&format!("{} operations", rows.len()), &total);
    for failure in &failures {
        println!("FAILED {failure}");
    }
    if failures.is_empty() && rows.len() == cases.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_row(name: &str, numbers: &[usize]) {
    let [steps, states, recoveries, doubles, reals, failures] = numbers else { unreachable!("six numbers") };
    println!("{name:36} {steps:>9} {states:>7} {recoveries:>10} {doubles:>8} {reals:>6} {failures:>8}");
}

fn tier() -> Tier {
    let asked = std::env::var("OUTLIVE_KILL").unwrap_or_default();
    let verbose = asked.contains("verbose");
    match () {
        () if asked.contains("full") => Tier { doubles: usize::MAX, reals: usize::MAX, verbose },
        () if cfg!(debug_assertions) => Tier { doubles: 1, reals: 1, verbose },
        () => Tier { doubles: 12, reals: 4, verbose },
    }
}

fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect()
}

/// A process with one thread, on one processor with those whom it traces.
struct Worker {
    process: Forked,
    told: File,
}

impl Worker {
    fn start(cases: &[&Case], (number, of): (usize, usize), cpu: usize) -> Self {
        let (told, tell) = pipe().unwrap();
        let Some(process) = fork() else {
            drop(told);
            let mut here = CpuSet::new();
            here.set(cpu).unwrap();
            let _ = sched_setaffinity(Pid::from_raw(0), &here); // or it is slow
            leave(|| work(cases, number, of, &mut File::from(tell)))
        };
        Self { process, told: File::from(told) }
    }

    fn finish(self, cases: &[&Case], rows: &mut Vec<(usize, String)>, failures: &mut Vec<String>) {
        let mut current = None;
        for line in BufReader::new(self.told).lines().map_while(Result::ok) {
            if let Some(case) = line.strip_prefix("begins ") {
                current = Some(case.parse::<usize>().unwrap());
            } else if let Some(row) = line.strip_prefix("row ") {
                rows.push((current.take().unwrap(), row.to_owned()));
            } else {
                failures.push(line);
            }
        }
        if let Some(case) = current {
            failures.push(format!("{}: has hung, or ended its tester", cases[case].name));
        }
        drop(self.process);
    }
}

fn work(cases: &[&Case], number: usize, of: usize, tell: &mut File) {
    listen_to_panics();
    for (n, case) in cases.iter().enumerate().filter(|(n, _)| n % of == number) {
        writeln!(tell, "begins {n}").unwrap();
        alarm::set(PATIENCE);
        let run = catch_unwind(|| case.run(tier()));
        let (counts, failures) = run.unwrap_or_else(|_| {
            let why = format!("{}: it cannot be prepared: {}", case.name, last_words());
            (Counts::default(), vec![why])
        });
        for failure in failures.iter().take(MOST) {
            writeln!(tell, "{}", failure.replace('\n', " ")).unwrap();
        }
        let Counts { steps, states, recoveries, doubles, reals } = counts;
        writeln!(tell, "row {steps} {states} {recoveries} {doubles} {reals} {}", failures.len()).unwrap();
    }
}
