//! All cases, on all processors, and the table of what was done.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, pipe};

use crate::arguments::Arguments;
use crate::case::{Case, Counts, Report, Tier};
use crate::machine;
use crate::process::{Forked, assert_one_thread, fork, leave};
use crate::world::remove_names_of;

/// Without optimisation each operation takes nine times the steps: of more than so many...
const MANY: usize = 16;

/// ... each so-manieth is run.
const SAMPLE: usize = 4;

/// So many failures of one case are told.
const MOST: usize = 6;

/// Runs the cases, and prints a table of what was done and a line for each failure: the `main` of a test with
/// `harness = false`.
///
/// Arguments are names of cases, or parts of them, and choose; `--exact`, `--skip` and `--list` are those of other tests, whose
/// further options change nothing. `OUTLIVE_KILL` says how thorough it is: see
/// [`Tier::from_environment`]. Without optimisation, and unless something was chosen, only a sample is run of more than 16
/// cases.
///
/// # Panics
/// If this process has more than one thread.
#[allow(clippy::print_stdout, reason = "the table of a test")]
pub fn run(groups: &[&[Case]]) -> ExitCode {
    let arguments = Arguments::new(std::env::args().skip(1));
    let chosen: Vec<&Case> = groups.iter().copied().flatten().filter(|case| arguments.want(case)).collect();
    if arguments.list {
        for case in chosen {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    if !machine::is_supported() {
        println!("*** NOT TESTED: kills at every instruction need x86-64 ***");
        return ExitCode::SUCCESS;
    }
    assert_one_thread();
    let asked = arguments.choose() || std::env::var_os("OUTLIVE_KILL").is_some();
    let bounded = cfg!(debug_assertions) && !asked && chosen.len() > MANY;
    let cases: Vec<&Case> = chosen.into_iter().step_by(if bounded { SAMPLE } else { 1 }).collect();
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
    for worker in workers {
        worker.finish(&cases, &mut rows, &mut failures);
    }
    rows.sort();
    let mut total = [0_usize; 6];
    for (case, row) in &rows {
        let numbers: Vec<usize> = row.split(' ').map(|number| number.parse().unwrap_or(0)).collect();
        print_row(cases[*case].name, &numbers);
        total.iter_mut().zip(&numbers).for_each(|(total, number)| *total += number);
    }
    print_row(&format!("{} operations", rows.len()), &total);
    if groups.iter().all(|group| group.is_empty()) {
        failures.push("there are no operations: nothing was tested".to_owned());
    }
    if rows.len() < cases.len() {
        failures.push(format!("{} operations were not run to their end", cases.len() - rows.len()));
    }
    for failure in &failures {
        println!("FAILED {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::print_stdout, reason = "the table of a test")]
fn print_row(name: &str, numbers: &[usize]) {
    let [steps, states, recoveries, doubles, reals, failures] = numbers else { unreachable!("six numbers") };
    println!("{name:36} {steps:>9} {states:>7} {recoveries:>10} {doubles:>8} {reals:>6} {failures:>8}");
}

fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("where we may run");
    (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect()
}

/// A process with one thread, on one processor with those whom it traces.
struct Worker {
    process: Forked,
    told: File,
}

impl Worker {
    fn start(cases: &[&Case], (number, of): (usize, usize), cpu: usize) -> Self {
        let (told, tell) = pipe().expect("a pipe");
        let Some(process) = fork() else {
            drop(told);
            let mut here = CpuSet::new();
            let _ = here.set(cpu);
            let _ = sched_setaffinity(Pid::from_raw(0), &here); // or it is slow
            leave(|| work(cases, number, of, &mut File::from(tell)))
        };
        Self { process, told: File::from(told) }
    }

    fn finish(self, cases: &[&Case], rows: &mut Vec<(usize, String)>, failures: &mut Vec<String>) {
        let mut current = None;
        for line in BufReader::new(self.told).lines().map_while(Result::ok) {
            if let Some(case) = line.strip_prefix("begins ") {
                current = case.parse::<usize>().ok();
            } else if let Some(row) = line.strip_prefix("row ") {
                rows.extend(current.take().map(|case| (case, row.to_owned())));
            } else {
                failures.push(line);
            }
        }
        if let Some(case) = current {
            failures.push(format!("{}: has hung, or ended its tester", cases[case].name));
        }
        let pid = self.process.pid();
        drop(self.process);
        remove_names_of(pid);
    }
}

fn work(cases: &[&Case], number: usize, of: usize, tell: &mut File) {
    let mut tell = |line: String| writeln!(tell, "{}", line.replace('\n', " ")).expect("somebody listens");
    for (n, case) in cases.iter().enumerate().filter(|(n, _)| n % of == number) {
        tell(format!("begins {n}"));
        let Report { counts, failures } = case.explore(Tier::from_environment());
        failures.iter().take(MOST).for_each(|failure| tell(failure.clone()));
        let Counts { steps, states, recoveries, doubles, reals } = counts;
        tell(format!("row {steps} {states} {recoveries} {doubles} {reals} {}", failures.len()));
    }
}
