//! Each target with a fixed number of inputs, and that what `fuzz/` has fits the targets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use fuzz_targets::seeded::{self, Budget};
use fuzz_targets::{TARGETS, Target};
use std::path::Path;

/// Inputs for each target; `.ci/run` takes more of the same.
const INPUTS: u64 = 2_000;

/// Runs a target, of whose inputs at least one in so many is accepted: properties of accepted inputs are checked often.
fn run(name: &str, inputs: u64, one_in: u64) {
    let target: &Target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = seeded::corpus(target).unwrap();
    assert!(!corpus.is_empty());
    let outcome = seeded::run(target, &corpus, 1, Budget::Inputs(inputs)).unwrap_or_else(|failure| {
        let file = seeded::save(&failure).map_or_else(|error| error.to_string(), |file| file.display().to_string());
        panic!("{failure}\n  {file}");
    });
    assert_eq!(outcome.executions, inputs);
    assert!(outcome.accepted * one_in >= inputs, "{outcome:?}");
}

macro_rules! targets {
    ($($name:ident $inputs:expr, $one_in:literal;)+) => {
        $(#[test] fn $name() { run(stringify!($name), $inputs, $one_in); })+

        #[test]
        fn every_target_is_tested_here_and_has_a_binary_for_cargo_fuzz() {
            let named: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(named, [$(stringify!($name)),+]);
            let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
            let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
            for name in named {
                let source = std::fs::read_to_string(project.join(format!("fuzz_targets/{name}.rs"))).unwrap();
                assert!(source.contains(&format!("fuzz_targets::{name}(data)")), "{source}");
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{manifest}");
            }
        }
    };
}

targets! {
    http1_head INPUTS, 10;
    http1_body INPUTS, 10;
    http2_head INPUTS, 10;
    client_hello INPUTS, 10;
    proxy_header INPUTS, 10;
    host_and_path INPUTS, 10;
    configuration INPUTS / 4, 4;
    grpc_web INPUTS, 10;
    ext_authz INPUTS, 20;
}

#[test]
fn most_inputs_of_the_corpus_are_accepted() {
    for target in &TARGETS {
        let corpus = seeded::corpus(target).unwrap();
        // Some cases are about objects with errors, and a target may choose limits that are too small for a good input.
        let accepted = corpus.iter().filter(|input| (target.run)(input)).count();
        assert!(accepted * 3 >= corpus.len() * 2, "{}: {accepted} of {}", target.name, corpus.len());
    }
}
