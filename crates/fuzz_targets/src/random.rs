//! Deterministic random numbers (SplitMix64): the same in every run with the same seed.

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence that depends on the input alone, so that libFuzzer and the seeded runner make the same choices for it.
    pub(crate) fn of(data: &[u8]) -> Self {
        // FNV-1a.
        Self(
            data.iter()
                .fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3)),
        )
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound; 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Whether an event of probability 1/`n` happens.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of some values.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).copied()
    }

    /// Where an input of this length is cut: ascending offsets, the last one is the length. At most 64 pieces.
    pub(crate) fn cuts(&mut self, length: usize) -> Vec<usize> {
        let most = (length.div_ceil(32).max(1) * 2).min(1 + self.below(length.max(1)));
        let (mut cuts, mut at) = (Vec::new(), 0);
        while at < length {
            at = (at + 1 + self.below(most)).min(length);
            cuts.push(at);
        }
        if cuts.is_empty() {
            cuts.push(0);
        }
        cuts
    }
}
