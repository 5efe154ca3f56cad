//! Reads the goldens that `tests/goldens/make.py` writes.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::unwrap_used,
    reason = "several test files share this, each uses a part; numbers are chosen to fit, and a failure is a failed test"
)]

use crate::reference::Mat;
use crate::reference::model::{Answer, Cell, Model, Sizes};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// The answer of the numpy program to one case.
#[derive(Debug)]
pub struct Golden {
    pub name: String,
    pub model: Model,
    pub cell: Cell,
    /// Numbers of the genes, counted from 0, at which all but `latent` was sampled.
    pub sampled: Vec<usize>,
    /// `[1, D]`.
    pub latent: Mat,
    /// `[sampled, D]`.
    pub hidden: Mat,
    /// `[sampled, V]`.
    pub gene_logits: Mat,
    /// `[1, sampled]`.
    pub values: Mat,
    /// `[N · H · (1 + sampled), 1 + sampled]`: [LAT] and the sampled genes, as queries and as keys.
    pub attention: Mat,
    /// Root mean square of all of latent, hidden, gene logits, values and attention, sampled or not.
    pub rms: [f64; 5],
}

impl Golden {
    /// All cases, by name.
    pub fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
        paths.sort();
        assert!(paths.len() >= 10, "{} goldens", paths.len());
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let facts = header.metadata().clone().unwrap();
        let real = |key: &str| facts[key].parse::<f64>().unwrap();
        let int = |key: &str| facts[key].parse::<usize>().unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        // 8 bytes a number, the last dimension as columns.
        let words = |name: &str| -> Vec<[u8; 8]> {
            tensors
                .tensor(name)
                .unwrap()
                .data()
                .chunks_exact(8)
                .map(|w| w.try_into().unwrap())
                .collect()
        };
        let mat = |name: &str| {
            let view = tensors.tensor(name).unwrap();
            assert_eq!(view.dtype(), Dtype::F64, "{name}");
            let n_cols = *view.shape().last().unwrap();
            let numbers: Vec<f64> = words(name).into_iter().map(f64::from_le_bytes).collect();
            Mat::new(numbers.len() / n_cols, n_cols, numbers)
        };
        let sizes = Sizes {
            vocab_size: int("vocab_size"),
            hidden_size: int("hidden_size"),
            num_layers: int("num_layers"),
            num_heads: int("num_heads"),
            intermediate_size: int("intermediate_size"),
            max_genes: 1200,
            rope_theta: real("rope_theta"),
        };
        let seed = facts["seed"].parse().unwrap();
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            cell: Cell::random(seed, &sizes, int("n_genes"), real("mask_share"), real("pad_share")),
            sampled: words("sampled")
                .into_iter()
                .map(|word| usize::try_from(i64::from_le_bytes(word)).unwrap())
                .collect(),
            latent: mat("latent"),
            hidden: mat("hidden"),
            gene_logits: mat("gene_logits"),
            values: mat("values"),
            attention: mat("attention"),
            rms: mat("rms").data.try_into().unwrap(),
            model: Model::new(sizes, seed),
        }
    }

    /// Holds an answer against this golden: every number to within `tolerance` of the RMS of its tensor.
    pub fn check(&self, answer: &Answer, tolerance: f64) {
        let sampled = || self.sampled.iter().copied();
        let tokens: Vec<usize> = std::iter::once(0).chain(sampled().map(|gene| gene + 1)).collect();
        let n = self.cell.gene_ids.len() + 1;
        let mut attention = vec![];
        for layer in &answer.attention {
            for head in 0..self.model.sizes.num_heads {
                for query in &tokens {
                    attention.extend(tokens.iter().map(|&key| layer.row(head * n + query)[key]));
                }
            }
        }
        let values: Vec<f64> = sampled().map(|gene| answer.values[gene]).collect();
        self.close("latent", self.rms[0], &answer.latent.data, &self.latent, tolerance);
        self.close(
            "hidden",
            self.rms[1],
            &answer.hidden.pick(sampled()).data,
            &self.hidden,
            tolerance,
        );
        self.close(
            "gene_logits",
            self.rms[2],
            &answer.gene_logits.pick(sampled()).data,
            &self.gene_logits,
            tolerance,
        );
        self.close("values", self.rms[3], &values, &self.values, tolerance);
        self.close("attention", self.rms[4], &attention, &self.attention, tolerance);
    }

    fn close(&self, tensor: &str, rms: f64, got: &[f64], wanted: &Mat, tolerance: f64) {
        assert_eq!(got.len(), wanted.data.len(), "{}: {tensor}", self.name);
        for (i, (got, wanted)) in got.iter().zip(&wanted.data).enumerate() {
            let error = (got - wanted).abs() / rms;
            assert!(
                error <= tolerance,
                "{}: {tensor}[{i}]: {got}, wanted {wanted}: off by {error:e} of the tensor's RMS",
                self.name
            );
        }
    }
}
