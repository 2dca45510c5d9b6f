//! Bounds of a pattern, so that no pattern takes too much memory and no value takes too many steps, and the error for a pattern beyond them.

use regex_automata::nfa::thompson::BuildError;

/// Istio refuses longer patterns (VS-12).
pub(super) const MAX_PATTERN_LENGTH: usize = 1024;
/// Upper bound of a compiled pattern, in bytes; a pattern such as `(a{1000}){1000}` is refused instead of built.
pub(super) const MAX_COMPILED_BYTES: usize = 2 << 20;
/// The longest value that is matched; heads are bounded below it.
pub(super) const MAX_VALUE: usize = 64 << 10;
/// The most steps of a match without a table: states of the pattern times bytes of the value. A step takes less than 10 ns.
pub(super) const MAX_STEPS: usize = 400_000;

/// Why a pattern is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Longer than Istio allows.
    #[error("the pattern has {0} characters, more than the {MAX_PATTERN_LENGTH} that are allowed")]
    TooLong(usize),
    /// Not a regular expression of the shared dialect, or too large when compiled.
    #[error("{0}")]
    Syntax(String),
    /// Matching one value could occupy a worker for too long.
    #[error(
        "matching one value may take {0} steps, more than the {MAX_STEPS} that are allowed; bound its repetitions, or make neighbours \
         exclude each other, such as `[^/]+/` in place of `.+/`"
    )]
    TooCostly(usize),
}

pub(super) fn too_large(error: Box<BuildError>) -> InvalidPattern {
    InvalidPattern::Syntax(match error.size_limit() {
        Some(_) => format!("the compiled pattern is larger than {MAX_COMPILED_BYTES} bytes"),
        None => error.to_string(),
    })
}

/// Checks that a search through `states` states takes few enough steps for every value of up to `longest` bytes.
pub(super) fn check_steps(states: usize, longest: usize) -> Result<(), InvalidPattern> {
    let steps = states.saturating_mul(longest);
    if steps > MAX_STEPS { Err(InvalidPattern::TooCostly(steps)) } else { Ok(()) }
}
