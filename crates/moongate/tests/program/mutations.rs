//! Good documents with bytes changed, cut, doubled and swapped: whatever comes of them, nothing panics or hangs, and what stands beside
//! them serves as before.

use moongate::explain::{Explainer, Outcome, Question};
use moongate::settings;
use resources::read::{documents, read};
use resources::set::{Change, ResourceSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::seeded::Seeded;

/// The documents beside the mutated ones, which must still be served.
const BESIDE: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: beside, namespace: beside}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 7999, name: http, protocol: HTTP}
    hosts: [beside.example]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: beside, namespace: beside}
spec:
  hosts: [beside.example]
  gateways: [beside]
  http:
  - directResponse: {status: 299}
";

/// Pieces that mean something in YAML or in the kinds, and so are worth putting anywhere.
const PIECES: &[&str] = &[
    "\n",
    " ",
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: ",
    "|",
    ">",
    "!!int ",
    "null",
    "~",
    "-1",
    "99999999999",
    "0",
    "*",
    "/",
    "a/b/c",
    "\u{feff}",
    "\t",
    "# ",
    "---",
    "...",
    "(",
    "(?=",
    "[[:alpha:]]",
    "1e999",
    "yes",
    "2024-01-01",
    "%",
    "\\",
];

fn mutate(text: &str, seeded: &mut Seeded) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=seeded.below(4) {
        let at = seeded.below(chars.len() + 1).min(chars.len());
        let length = seeded.below(12).min(chars.len() - at);
        match seeded.below(5) {
            0 => drop(chars.drain(at..at + length)),
            1 => {
                let piece = PIECES[seeded.below(PIECES.len())];
                chars.splice(at..at, piece.chars());
            }
            2 => {
                let copy: Vec<char> = chars[at..at + length].to_vec();
                let to = seeded.below(chars.len() + 1);
                chars.splice(to..to, copy);
            }
            3 => {
                let piece = PIECES[seeded.below(PIECES.len())];
                chars.splice(at..at + length, piece.chars());
            }
            _ => {
                if let Some(place) = chars.get_mut(at) {
                    *place = char::from(u8::try_from(seeded.below(128)).unwrap());
                }
            }
        }
    }
    chars.into_iter().collect()
}

fn inputs() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    testkit::cases::Case::read_all(&root).unwrap().into_iter().map(|case| case.config).collect()
}

fn put(set: &ResourceSet, text: &str) -> ResourceSet {
    let file: Arc<Path> = Arc::from(PathBuf::from("in.yaml"));
    let objects = documents(text).flat_map(|document| read(&file, document).objects);
    set.with(objects.map(Change::Put))
}

fn run(mutations: usize) {
    let inputs = inputs();
    let beside = put(&ResourceSet::default(), BESIDE);
    let mut seeded = Seeded(1);
    let headers = vec![("Host".to_owned(), "beside.example".to_owned())];
    let question = Question {
        port: 7999,
        method: "GET".to_owned(),
        target: "/".to_owned(),
        headers,
        body: false,
        tls: None,
        from: [127, 0, 0, 1].into(),
        identity: None,
    };
    for number in 0..mutations {
        let text = mutate(&inputs[number % inputs.len()], &mut seeded);
        let explainer = Explainer::new(&put(&beside, &text), &settings::ingress());
        let answer = explainer.ask(&question).unwrap();
        let serves = match &answer.outcome {
            Outcome::Answered { status: 299, .. } => true,
            // A policy is for everything that its workload serves.
            Outcome::Answered { status: 403, detail, .. } => detail.starts_with("rbac_access_denied"),
            _ => false,
        };
        assert!(serves, "mutation {number} took a route beside it along: {answer:?}\n{text}");
    }
}

#[test]
fn mutations_of_good_documents_harm_nothing_beside_them() {
    run(3_000);
}

#[test]
#[ignore = "takes a minute in a release build; `.ci/run` runs it there"]
fn mutations_by_the_hundred_thousand_harm_nothing_beside_them() {
    run(100_000);
}
