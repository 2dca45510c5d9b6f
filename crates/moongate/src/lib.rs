//! The program's wiring: flags, the pipeline from files to the data plane, admin pages, and the commands that tell why.
//!
//! A library beside the binary, so that tests can ask `explain` without a process for each question.

mod accept;
mod access_log;
mod admin;
mod applier;
mod audit;
mod certificates;
mod check;
mod cli;
mod crds;
mod current;
mod demo;
mod descriptors;
mod echo;
mod egress;
pub mod explain;
mod gateway_services;
mod get;
mod handover;
mod limits;
mod logging;
mod manifests;
mod mesh;
mod metrics;
mod objects;
mod operators;
mod output;
mod page;
mod page_client;
mod pipeline;
mod positions;
mod privileges;
mod process;
mod publisher;
mod readiness;
mod report_log;
mod run;
mod served;
mod service_manager;
mod serving;
pub mod settings;
mod signals;
mod sink;
mod start_up;
mod statuses;
mod words;
mod written;
mod yaml;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use std::io::Write as _;
use std::process::ExitCode;

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    run_command().unwrap_or_else(|error| {
        output::print_error(&error);
        ExitCode::from(2)
    })
}

fn run_command() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let printed = usage.print().and_then(|()| std::io::stdout().flush());
            // An error goes to the standard error output; help and version are what was asked for.
            if !usage.use_stderr() {
                output::settle(printed)?;
            }
            return Ok(ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2)));
        }
    };
    match cli.command {
        Command::Run(args) => run::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::command(&args),
        Command::Audit { command } => audit::command(&command),
        Command::Egress { command } => egress::command(&command),
        Command::Get(args) => get::get(&args),
        Command::Crds => crds::crds().map(|()| ExitCode::SUCCESS),
        Command::Manifests(args) => manifests::manifests(&args).map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => demo::demo(&args).map(|()| ExitCode::SUCCESS),
        Command::Echo(args) => echo::serve(&args).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "moongate", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
