//! Which genes of a cell come first: spec 4.3.

use serde::{Deserialize, Serialize};

/// How the genes of a cell are ranked: `serialization` in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serialization {
    /// By `x / (H + 1e-3)`: genes that few cells share come before those that all express.
    #[default]
    EntropyNormalized,
    /// By `x`.
    Expression,
}

/// One cell as the model reads it: expressed genes, highest score first; empty for a cell without counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tokens {
    /// Ids of the vocabulary.
    pub gene_ids: Vec<u32>,
    /// Normalised values, all above 0, in the same order.
    pub values: Vec<f32>,
}

impl Tokens {
    /// Number of genes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.gene_ids.len()
    }

    /// Whether the cell has no gene that the model knows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gene_ids.is_empty()
    }
}

/// A gene of a cell on its way to a rank.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expressed {
    pub(crate) gene_id: u32,
    pub(crate) value: f32,
    pub(crate) score: f64,
}

impl Serialization {
    /// The score of a gene: its value, as the model will see it, so that counts and their log-normalised form rank alike.
    pub(crate) fn score(self, value: f32, entropy: f64) -> f64 {
        match self {
            Self::EntropyNormalized => f64::from(value) / (entropy + 1e-3),
            Self::Expression => f64::from(value),
        }
    }
}

/// Highest score first, lower id first among equals, at most `max_genes`.
pub(crate) fn rank(genes: impl Iterator<Item = Expressed>, max_genes: usize) -> Tokens {
    // One number a gene, which sorts several times faster than three: scores are never negative, so that their bits have their order.
    let mut keys: Vec<u128> = genes
        .map(|gene| {
            let score = u128::from(!gene.score.to_bits()) << 64;
            score | u128::from(gene.gene_id) << 32 | u128::from(gene.value.to_bits())
        })
        .collect();
    if max_genes < keys.len() {
        if let Some(last) = max_genes.checked_sub(1) {
            keys.select_nth_unstable(last);
        }
        keys.truncate(max_genes);
    }
    keys.sort_unstable();
    #[expect(clippy::cast_possible_truncation, reason = "each part of the number is taken by its bits")]
    let (ids, values) = (|key: &u128| (key >> 32) as u32, |key: &u128| f32::from_bits(*key as u32));
    Tokens {
        gene_ids: keys.iter().map(ids).collect(),
        values: keys.iter().map(values).collect(),
    }
}
