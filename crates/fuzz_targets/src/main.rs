//! Runs targets of fuzzing on stable Rust: `cargo run --profile fuzz --package fuzz_targets -- --seconds 30`.

use anyhow::{Context, Result, bail};
use fuzz_targets::seeded::{self, Budget, Failure};
use fuzz_targets::{TARGETS, Target};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const USAGE: &str = "\
usage: fuzz_targets [options] [target]...

Gives each target inputs that follow from the seed. Without targets, all of them run, as many at a time as there are processors.

  --seconds N   run each target for so long (30)
  --inputs N    run each target with so many inputs instead
  --seed N      the seed (1)
  --input N     run one target with this input of the seed only
  --file PATH   run one target with the content of a file only
  --list        print the names of the targets";

/// What the arguments ask for.
struct Demand {
    budget: Budget,
    seed: u64,
    input: Option<u64>,
    file: Option<PathBuf>,
    targets: Vec<Target>,
}

fn main() -> Result<()> {
    let Some(demand) = demand(std::env::args().skip(1))? else { return Ok(()) };
    if demand.input.is_some() || demand.file.is_some() {
        return run_one(&demand);
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(0));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors.min(demand.targets.len()) {
            scope.spawn(|| {
                while let Some(target) = demand.targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let succeeded = run(target, &demand);
                    if let Err(error) = &succeeded {
                        println!("{error:#}");
                    }
                    if let (Err(_), Ok(mut failures)) = (&succeeded, failures.lock()) {
                        *failures += 1;
                    }
                }
            });
        }
    });
    match failures.into_inner() {
        Ok(0) => Ok(()),
        Ok(failures) => bail!("{failures} of {} targets failed", demand.targets.len()),
        Err(_) => bail!("a thread failed"),
    }
}

/// `None` when there is nothing to run.
fn demand(mut arguments: impl Iterator<Item = String>) -> Result<Option<Demand>> {
    let budget = Budget::Time(Duration::from_secs(30));
    let mut demand = Demand { budget, seed: 1, input: None, file: None, targets: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let value = arguments.next().with_context(|| format!("{argument} needs a value"))?;
            value.parse().with_context(|| format!("{argument}: `{value}` is not a number"))
        };
        match &*argument {
            "--seconds" => demand.budget = Budget::Time(Duration::from_secs(number()?)),
            "--inputs" => demand.budget = Budget::Inputs(number()?),
            "--seed" => demand.seed = number()?,
            "--input" => demand.input = Some(number()?),
            "--file" => demand.file = Some(arguments.next().context("--file needs a value")?.into()),
            "--list" => {
                TARGETS.iter().for_each(|target| println!("{}", target.name));
                return Ok(None);
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            name => match TARGETS.iter().find(|target| target.name == name) {
                Some(target) => demand.targets.push(*target),
                None => bail!("there is no target `{name}`\n\n{USAGE}"),
            },
        }
    }
    if demand.targets.is_empty() {
        demand.targets = TARGETS.to_vec();
    }
    Ok(Some(demand))
}

fn run(target: &Target, demand: &Demand) -> Result<()> {
    let corpus = seeded::corpus(target)?;
    let outcome = seeded::run(target, &corpus, demand.seed, demand.budget).map_err(|failure| told(&failure))?;
    let seconds = outcome.time.as_secs_f64();
    println!(
        "{:<14} seed {}: {} executions in {seconds:.1} s, {:.0}/s, {:.0} % accepted, slowest {:.1} ms (input {})",
        target.name,
        demand.seed,
        outcome.executions,
        outcome.executions as f64 / seconds,
        outcome.accepted as f64 * 100.0 / outcome.executions.max(1) as f64,
        outcome.slowest.0.as_secs_f64() * 1000.0,
        outcome.slowest.1,
    );
    Ok(())
}

fn run_one(demand: &Demand) -> Result<()> {
    let [target] = &demand.targets[..] else { bail!("`--input` and `--file` need one target\n\n{USAGE}") };
    let accepted = match (&demand.file, demand.input) {
        // A panic is shown as it is, with its backtrace.
        (Some(file), _) => {
            let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            (target.run)(&input)
        }
        (None, number) => {
            let corpus = seeded::corpus(target)?;
            let result = seeded::run_one(target, &corpus, demand.seed, number.unwrap_or_default());
            result.map_err(|failure| told(&failure))?
        }
    };
    println!("{}: {}", target.name, if accepted { "accepted" } else { "rejected" });
    Ok(())
}

/// The failure with the file that its input was written to.
fn told(failure: &Failure) -> anyhow::Error {
    match seeded::save(failure) {
        Ok(file) => anyhow::anyhow!("{failure}\n  written to {}", file.display()),
        Err(error) => anyhow::anyhow!("{failure}\n  not written to a file: {error:#}"),
    }
}
