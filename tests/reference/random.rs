//! Random numbers from a counter: number `i` of a named stream is a function of (seed, name, i) alone, so that
//! `tests/goldens/make.py` makes the same weights bit for bit and none need be stored.

use super::Mat;

/// A named stream of numbers.
#[derive(Debug, Clone, Copy)]
pub struct Stream(u64);

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Stream {
    /// FNV-1a of the name, and the seed.
    pub fn new(seed: u64, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Self(hash ^ mix(seed))
    }

    /// Number `i`, in [0, 1): a multiple of 2⁻²⁴, so exact in f32 too. (splitmix64.)
    pub fn uniform(self, i: usize) -> f64 {
        let z = mix(self.0.wrapping_add((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        (z >> 40) as f64 / f64::from(1u32 << 24)
    }

    /// Number `i`, in [-1, 1).
    pub fn signed(self, i: usize) -> f64 {
        2.0 * self.uniform(i) - 1.0
    }

    /// Number `i`, one of `0..n`.
    pub fn below(self, i: usize, n: usize) -> usize {
        (self.uniform(i) * n as f64) as usize
    }
}

/// Where a stream stands, for tests that draw one number after another.
#[derive(Debug, Clone)]
pub struct Draws {
    stream: Stream,
    next: usize,
}

impl Draws {
    pub fn new(seed: u64, name: &str) -> Self {
        Self {
            stream: Stream::new(seed, name),
            next: 0,
        }
    }

    fn step(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub fn signed(&mut self) -> f64 {
        let i = self.step();
        self.stream.signed(i)
    }

    /// One of `range`.
    pub fn int(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        let i = self.step();
        range.start() + self.stream.below(i, range.end() - range.start() + 1)
    }

    /// f32 numbers in ±`scale`.
    pub fn numbers(&mut self, n: usize, scale: f64) -> Vec<f32> {
        (0..n).map(|_| (scale * self.signed()) as f32).collect()
    }
}

/// Numbers of a checkpoint tensor as f32, row-major.
///
/// Matrices are uniform with variance `1 / fan_in` (so that activations keep their size), times a gain: small for the first layer of the
/// value encoder, whose inputs reach 6, and 2 for q and k, so that attention is far from uniform. Norm weights are near 1.
pub fn tensor(seed: u64, name: &str, shape: &[usize]) -> Vec<f32> {
    let stream = Stream::new(seed, name);
    let n: usize = shape.iter().product();
    let n_cols = shape.last().copied().unwrap_or(1);
    let (centre, scale) = if name.contains("norm") || name == "latent_encoder.mlp.1.weight" {
        (1.0, 0.25)
    } else if name.ends_with(".bias") {
        (0.0, 0.25)
    } else if name == "gene_embedding.weight" || name.ends_with("_mask_emb") {
        (0.0, 1.0)
    } else {
        let gain = match name {
            "value_encoder.0.weight" => 0.25,
            _ if name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") => 2.0,
            _ => 1.0,
        };
        (0.0, gain * (3.0 / n_cols as f64).sqrt())
    };
    // Row 0 of the embedding is the pad gene: zeros.
    let n_zeros = if name == "gene_embedding.weight" { n_cols } else { 0 };
    (0..n)
        .map(|i| {
            if i < n_zeros {
                0.0
            } else {
                (centre + scale * stream.signed(i)) as f32
            }
        })
        .collect()
}

/// The same as a matrix in f64; a vector is `[1, n]`.
pub fn tensor_mat(seed: u64, name: &str, shape: &[usize]) -> Mat {
    let (n_rows, n_cols) = match shape {
        [n_cols] => (1, *n_cols),
        [n_rows, n_cols] => (*n_rows, *n_cols),
        _ => panic!("{name}: shape {shape:?}"),
    };
    Mat::from_f32(n_rows, n_cols, &tensor(seed, name, shape))
}
