//! What becomes of a test that cannot run where it is, for want of a program or a right: in CI it fails, elsewhere one line says why it did not
//! run. Every test that may not run decides by this.

use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

/// The reasons that this process has given.
static GIVEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether this is CI, where a test that does not run has failed: `CI` is set, and not to `0` or `false`.
pub(crate) fn is_ci() -> bool {
    says_ci(std::env::var_os("CI").as_deref())
}

fn says_ci(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != "0" && value != "false")
}

/// To be called by a test before it returns without having run. In CI that is an error. Elsewhere one line says why, once for each reason.
pub fn not_run(why: &str) -> Result<()> {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(!is_ci(), "a test cannot run, which is a failure in CI: {why}");
    let line = format!("not run: {why}\n");
    if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(why) {
        // libtest shows what the macros print only of tests that fail.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_reason_is_seen_once_though_tests_pass_and_is_a_failure_in_ci() {
        let run = |ci: Option<&str>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "not_run::tests::gives_a_reason_twice", "--ignored"]).env_remove("CI");
            let output = command.envs(ci.map(|ci| ("CI", ci))).output().unwrap();
            let lines = String::from_utf8(output.stderr).unwrap();
            (output.status.success(), lines.matches("not run: there is no such program\n").count())
        };
        assert_eq!((run(None), run(Some("true"))), ((true, 1), (false, 0)));
    }

    #[test]
    #[ignore = "the test above runs it in a process of its own"]
    fn gives_a_reason_twice() {
        not_run("there is no\nsuch program").unwrap();
        not_run("there is no such program").unwrap();
    }

    #[test]
    fn ci_is_what_says_so() {
        let says = |value: &str| says_ci(Some(OsStr::new(value)));
        assert!(says("true") && says("1") && !says("") && !says("false") && !says("0") && !says_ci(None));
    }
}
