//! Numbers that look like chance and are the same in every run (SplitMix64).

/// A sequence of numbers by its seed.
#[derive(Debug, Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    /// The next number, from 0 up to and without `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// One of these texts, of which there has to be one.
    pub fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        let index = self.below(all.len());
        all.get(index).copied().unwrap_or_default()
    }

    /// Whether it is the one time in so many.
    pub fn sometimes(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}
