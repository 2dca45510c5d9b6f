//! What patterns cost: `cargo run --release -p ir --example pattern`.
//!
//! For each pattern, the time to compile it, and the longest time of one match, and of one replacement, over values that are as bad for it
//! as they can be. The bar is 5 ms for a match. Patterns that are rejected are named with the reason.

#![allow(clippy::print_stdout, reason = "a measurement prints what it measured")]

use ir::Pattern;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds for each figure, of which the median is printed.
const ROUNDS: usize = 9;
/// Octets of a long path: as long as a head may be.
const LONG: usize = 60 << 10;

fn main() {
    println!("{:<44}{:>12}{:>12}{:>14}", "pattern", "compile us", "match us", "replace us");
    // What people write; then what is bad: tables as large as they may be, searches as long as they may be.
    let ambiguous = format!("(a?){{{0}}}a{{{0}}}", 120);
    let wide = "[a-z]*x[a-z]{9}";
    for pattern in [
        "/api/v[0-9]+/.*",
        ".*\\.(png|jpe?g|gif|svg|css|js)",
        "(/[^/]+)*/admin(/.*)?",
        ".*(foo|bar|baz).*(qux|quux).*",
        wide,
        "(a*)*b",
        "a*b|a",
        "(.*)a(.*)",
        &ambiguous,
        "(?:.*/){12}x",
        "[ab]*a[ab]{13}",
        ".{0,200}x.{0,200}y",
    ] {
        report(pattern);
    }
}

fn report(pattern: &str) {
    let name: String = pattern.chars().take(42).collect();
    let compile = median(|| drop(black_box(Pattern::parse(pattern))));
    match Pattern::parse(pattern) {
        Err(why) => println!("{name:<44}{:>12.1}  rejected: {why}", micros(compile)),
        Ok(compiled) => {
            let matching = worst(|value| _ = black_box(compiled.is_match(value)));
            let replacing = worst(|value| drop(black_box(compiled.replace_all(value, r"/\1"))));
            println!("{name:<44}{:>12.1}{:>12.1}{:>14.1}", micros(compile), micros(matching), micros(replacing));
        }
    }
}

/// The longest of the median times over all values.
fn worst(act: impl Fn(&[u8])) -> Duration {
    let repeated = |text: &str, length: usize| text.repeat(length / text.len()).into_bytes();
    let texts = ["a", "/a", "ab", "ax", "/", "/api/v1/a", "foo"];
    let lengths = [100, 1000, 4000, LONG];
    let values = texts.iter().flat_map(|text| lengths.map(|length| repeated(text, length)));
    values.map(|value| median(|| act(&value))).max().unwrap_or_default()
}

fn median(mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            act();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
