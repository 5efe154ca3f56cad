//! Whether a file is the one that was read before.

use super::Files;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};

/// This many pieces of each file are looked at, spread evenly from its first byte to its last.
const N_PIECES: u64 = 64;
const PIECE: u64 = 1 << 16;

impl Files {
    /// SHA-256 over the sizes of the files and 64 pieces of 64 KiB of each, the first and the last bytes among them, in hexadecimal: of a file of up to
    /// 4 MiB every byte. A larger one that was changed between these pieces alone, and kept its size, is not told from what it was. Where files lie and
    /// what they are called does not count, except for the names of samples.
    ///
    /// # Errors
    /// [`Error::Io`] when one cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        for (name, sample) in &self.samples {
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update(sample.fingerprint()?);
        }
        let mut piece = Vec::new();
        for (name, source) in &self.files {
            let size = source.size();
            hasher.update(size.to_le_bytes());
            let last = size.saturating_sub(PIECE);
            for i in 0..N_PIECES.min(size.div_ceil(PIECE)) {
                // In two parts, since `last * i` may pass 64 bits.
                let n_steps = (N_PIECES - 1).min(size.div_ceil(PIECE).saturating_sub(1)).max(1);
                let start = last / n_steps * i + last % n_steps * i / n_steps;
                piece.resize(usize::try_from(PIECE.min(size - start)).unwrap_or_default(), 0);
                source.read_at(start, &mut piece).map_err(|source| Error::Io {
                    file: name.clone(),
                    source,
                })?;
                hasher.update(&piece);
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_fingerprint_tells_first_last_and_length_and_not_the_name() {
        let of = |name: &str, bytes: Vec<u8>| Files::one(name, Arc::new(bytes)).fingerprint().unwrap_or_default();
        let bytes = vec![7; 300_000];
        let whole = of("a", bytes.clone());
        assert_eq!(whole.len(), 64);
        assert_eq!(whole, of("b", bytes.clone()));
        for place in [0, 150_000, 299_999] {
            let mut other = bytes.clone();
            other[place] = 8;
            assert_ne!(whole, of("a", other), "byte {place}");
        }
        assert_ne!(whole, of("a", vec![7; 300_001]));
        assert_ne!(of("a", Vec::new()), of("a", vec![0]));
    }
}
