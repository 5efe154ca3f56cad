//! Numbers that look random and are the same everywhere and always: a counter, hashed.

/// `SplitMix64`: every `u64` to another one.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A sequence of them.
pub(super) struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// A number below `n`, which is at least 1 and below 2^32.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let high = mix(self.0) >> 32;
        ((high * n as u64) >> 32) as usize
    }

    /// A number of mean 0 and variance 1: all between `−√3` and `√3` are alike.
    pub(super) fn uniform(&mut self) -> f64 {
        3.0_f64.sqrt() * (self.below(1 << 24) as f64 / f64::from(1 << 23) - 1.0)
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
