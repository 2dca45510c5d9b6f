//! The program's wiring: flags, the pipeline from files to the data plane, admin pages, and the commands that tell why.
//!
//! A library beside the binary, so that tests can ask `explain` without a process for each question.

mod admin;
mod certificates;
mod check;
mod cli;
mod demo;
mod descriptors;
mod echo;
pub mod explain;
mod handover;
mod limits;
mod logging;
mod mesh;
mod operators;
mod page;
mod pipeline;
mod privileges;
mod process;
mod run;
mod service_manager;
mod serving;
pub mod settings;
mod signals;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use std::process::ExitCode;

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::command(&args),
        Command::Demo(args) => demo::demo(&args).map(|()| ExitCode::SUCCESS),
        Command::Echo(args) => echo::serve(&args).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "moongate", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        anstream::eprintln!("{}error{}: {error:#}", anstyle::AnsiColor::Red.on_default().bold(), anstyle::Reset);
        ExitCode::from(2)
    })
}
