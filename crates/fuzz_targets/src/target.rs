//! What a target is for those who run it.

/// A function for fuzzing with what mutations of its input need.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its corpus and of its binary for cargo-fuzz.
    pub name: &'static str,
    /// The function. It returns whether the input was accepted, and panics where a property does not hold.
    pub run: fn(&[u8]) -> bool,
    /// Pieces that inputs are made of.
    pub tokens: &'static [&'static [u8]],
    /// The longest input, in octets.
    pub longest: usize,
}
