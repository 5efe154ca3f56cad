//! A task head: labels from a cell embedding. A few kflop a cell, so it runs on the host, in f64.

mod metadata;

pub use metadata::Tissue;

use super::files::{ModelFiles, sha256};
use super::forward::Output;
use super::tensors::TensorFile;
use crate::error::{Error, Result};
use crate::read::Source;
use metadata::Metadata;
use std::str::FromStr;
use std::sync::Arc;

/// What a head reads. Source: spec section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The cell embedding, D numbers.
    Latent,
    /// The mean of the attended gene rows, D numbers.
    Mean,
    /// Both, one after the other, 2D numbers.
    LatentMean,
}

impl FromStr for Pooling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latent" => Ok(Self::Latent),
            "mean" => Ok(Self::Mean),
            "latent+mean" => Ok(Self::LatentMean),
            other => Err(format!("{other:?}, wanted latent, mean or latent+mean")),
        }
    }
}

impl Pooling {
    /// What heads call it in their metadata.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latent => "latent",
            Self::Mean => "mean",
            Self::LatentMean => "latent+mean",
        }
    }

    /// Whether it reads the mean of the gene rows.
    pub(crate) fn reads_mean(self) -> bool {
        self != Self::Latent
    }

    /// What a head reads of one of the `n_cells` cells of an output.
    pub(crate) fn pooled(self, output: &Output, n_cells: usize, cell: usize) -> Vec<f32> {
        let row = |part: &[f32]| {
            let d = part.len() / n_cells.max(1);
            part[cell * d..(cell + 1) * d].to_vec()
        };
        match self {
            Self::Latent => row(&output.latent),
            Self::Mean => row(&output.mean),
            Self::LatentMean => [row(&output.latent), row(&output.mean)].concat(),
        }
    }
}

/// `Linear → GELU → Linear → softmax` on pooled hidden states.
#[derive(Debug, Clone)]
pub struct Head {
    /// `NAME` of `heads/NAME.safetensors`.
    pub name: String,
    /// One a class.
    pub labels: Vec<String>,
    /// One a class, empty where there is none; empty when the head has none at all.
    pub ontology_ids: Vec<String>,
    /// What it reads.
    pub pooling: Pooling,
    /// The least probability that a label should have to be believed; 0 for a head that does not say.
    pub min_probability: f32,
    /// The tissues that it tells apart, by name; none for a head that does not say.
    pub tissues: Vec<Tissue>,
    /// What it was fitted on, in words.
    pub reference: Option<String>,
    /// SHA-256 of the head's file, in hexadecimal.
    pub hash: String,
    /// The place in `tissues` of the one that answers are kept to.
    restriction: Option<usize>,
    first: Linear,
    second: Linear,
}

/// The two most probable classes of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Index of the most probable label.
    pub label: usize,
    /// Its probability.
    pub probability: f32,
    /// Index of the runner-up; the same as `label` when there is one label only.
    pub second_label: usize,
    /// Its probability.
    pub second_probability: f32,
    /// Shannon entropy of the probabilities of all labels, in nats: 0 when one has it all, `ln(n_labels)` when all are alike.
    pub entropy: f32,
}

#[derive(Debug, Clone)]
struct Linear {
    n_in: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Head {
    /// Reads `heads/NAME.safetensors` of a model of width `hidden_size`: [`Head::read`].
    ///
    /// # Errors
    /// [`Error::File`] when it is missing; what [`Head::read`] says.
    pub fn open(files: &ModelFiles, name: &str, hidden_size: usize) -> Result<Self> {
        let file = format!("heads/{name}.safetensors");
        Self::read(files, name, &files.path(&file), &files.require(&file)?, hidden_size)
    }

    /// Reads a head for the model of `files`, whose width is `hidden_size`: tensors `0.weight` `[hidden, in]`, `0.bias`, `2.weight`
    /// `[labels, hidden]`, `2.bias`; metadata `kind` = `annotate`, `labels` as a JSON array; and where they are given, `ontology_ids` as
    /// one too, `pooling`, `min_probability`, `tissues` and `tissue_ambiguous` as JSON objects of arrays of labels, `reference`, and
    /// `model_hash`, the SHA-256 of the `model.safetensors` that it was fitted on. `file` is how the user calls it.
    ///
    /// # Errors
    /// [`Error::File`] that names the tensor or the metadata key, or says that it was fitted on another model; [`Error::Io`].
    pub fn read(files: &ModelFiles, name: &str, file: &str, source: &Arc<dyn Source>, hidden_size: usize) -> Result<Self> {
        let tensors = TensorFile::open(file, Arc::clone(source))?;
        let metadata = Metadata {
            file: tensors.name().to_owned(),
            entries: tensors.metadata(),
        };
        let kind = metadata.text("kind")?;
        if kind != "annotate" {
            return Err(metadata.error("kind", format!("{kind:?}, wanted \"annotate\"")));
        }
        if let Some(hash) = metadata.model_hash()? {
            let own = files.weights_hash()?;
            if hash != own {
                let problem = format!("fitted on another model, whose weights have the SHA-256 {hash}; this model's have {own}");
                return Err(metadata.error("model_hash", problem));
            }
        }
        let labels = metadata.list("labels")?;
        let pooling = match metadata.get("pooling") {
            None => Pooling::Latent,
            Some(text) => text.parse().map_err(|problem| metadata.error("pooling", problem))?,
        };
        let n_in = match pooling {
            Pooling::Latent | Pooling::Mean => hidden_size,
            Pooling::LatentMean => 2 * hidden_size,
        };
        if let Some(extra) = tensors
            .tensor_names()
            .into_iter()
            .find(|name| !["0.weight", "0.bias", "2.weight", "2.bias"].contains(&name.as_str()))
        {
            return Err(Error::file(tensors.name(), extra, "a tensor that a head does not have"));
        }
        let n_hidden = tensors.info("0.weight")?.shape.first().copied().unwrap_or(0);
        let head = Self {
            name: name.to_owned(),
            ontology_ids: match metadata.get("ontology_ids") {
                Some(_) => metadata.list("ontology_ids")?,
                None => Vec::new(),
            },
            min_probability: metadata.min_probability()?,
            tissues: metadata.tissues(&labels)?,
            reference: metadata.get("reference").map(str::to_owned),
            hash: sha256(file, source.as_ref())?,
            restriction: None,
            first: Linear::read(&tensors, 0, n_hidden, n_in)?,
            second: Linear::read(&tensors, 2, labels.len(), n_hidden)?,
            labels,
            pooling,
        };
        if head.labels.is_empty() {
            return Err(metadata.error("labels", "no label".to_owned()));
        }
        if !head.ontology_ids.is_empty() && head.ontology_ids.len() != head.labels.len() {
            return Err(metadata.error(
                "ontology_ids",
                format!("{} ids for {} labels", head.ontology_ids.len(), head.labels.len()),
            ));
        }
        Ok(head)
    }

    /// A head that gives only the labels of a tissue: those of others have probability 0, and the rest sums up to 1. `None` lifts that.
    ///
    /// # Errors
    /// [`Error::Argument`] when the head knows no such tissue, with those that it knows.
    pub fn in_tissue(&self, tissue: Option<&str>) -> Result<Self> {
        let place = |name: &str| {
            let known: Vec<&str> = self.tissues.iter().map(|tissue| tissue.name.as_str()).collect();
            known.iter().position(|&known| known == name).ok_or_else(|| {
                let problem = match known.as_slice() {
                    [] => format!("{name:?}, but head {:?} tells no tissues apart", self.name),
                    known => format!("{name:?}, wanted auto, any or one of {}", known.join(", ")),
                };
                Error::argument("annotate", "tissue", problem)
            })
        };
        Ok(Self {
            restriction: tissue.map(place).transpose()?,
            ..self.clone()
        })
    }

    /// Probabilities of every label for each of `n_cells` cells, `[n_cells, n_labels]`. `output` must hold what
    /// [`Head::pooling`] reads.
    #[must_use]
    pub fn probabilities(&self, output: &Output, n_cells: usize) -> Vec<f32> {
        let mut probabilities = Vec::with_capacity(n_cells * self.labels.len());
        for cell in 0..n_cells {
            let pooled = self.pooling.pooled(output, n_cells, cell);
            let hidden: Vec<f64> = self.first.apply(pooled.iter().map(|&x| f64::from(x))).map(gelu).collect();
            let mut logits: Vec<f64> = self.second.apply(hidden.into_iter()).collect();
            if let Some(tissue) = self.restriction.and_then(|place| self.tissues.get(place)) {
                let others = logits
                    .iter_mut()
                    .enumerate()
                    .filter(|(label, _)| !tissue.labels.contains(label));
                others.for_each(|(_, logit)| *logit = f64::NEG_INFINITY);
            }
            probabilities.extend(softmax(logits));
        }
        probabilities
    }

    /// The two most probable labels of each cell.
    #[must_use]
    pub fn predict(&self, output: &Output, n_cells: usize) -> Vec<Prediction> {
        let probabilities = self.probabilities(output, n_cells);
        probabilities.chunks_exact(self.labels.len()).map(top_two).collect()
    }
}

impl Linear {
    fn read(tensors: &TensorFile, layer: usize, n_out: usize, n_in: usize) -> Result<Self> {
        let (weight_name, bias_name) = (format!("{layer}.weight"), format!("{layer}.bias"));
        tensors.expect_shape(&weight_name, &[n_out, n_in])?;
        tensors.expect_shape(&bias_name, &[n_out])?;
        let (mut weight, mut bias) = (vec![0.0; n_out * n_in], vec![0.0; n_out]);
        tensors.read_f32(&weight_name, 0..n_out * n_in, &mut weight)?;
        tensors.read_f32(&bias_name, 0..n_out, &mut bias)?;
        Ok(Self { n_in, weight, bias })
    }

    fn apply(&self, x: impl Iterator<Item = f64>) -> impl Iterator<Item = f64> {
        let x: Vec<f64> = x.collect();
        let rows = self.weight.chunks_exact(self.n_in.max(1)).zip(&self.bias);
        rows.map(move |(w, &b)| f64::from(b) + w.iter().zip(&x).map(|(&w, &x)| f64::from(w) * x).sum::<f64>())
    }
}

/// `x Φ(x)`.
fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

#[expect(clippy::cast_possible_truncation, reason = "probabilities are handed on as f32")]
fn softmax(logits: Vec<f64>) -> Vec<f32> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.into_iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|x| (x / sum) as f32).collect()
}

fn top_two(probabilities: &[f32]) -> Prediction {
    let best_but = |not: Option<usize>| {
        let candidates = probabilities.iter().enumerate().filter(|(i, _)| Some(*i) != not);
        // The first of equals, so that the answer does not depend on the order of comparison.
        candidates.fold((0, f32::NEG_INFINITY), |best, (i, &p)| if p > best.1 { (i, p) } else { best })
    };
    let (label, probability) = best_but(None);
    let (second_label, second_probability) = match probabilities.len() {
        0 | 1 => (label, 0.0),
        _ => best_but(Some(label)),
    };
    Prediction {
        label,
        probability,
        second_label,
        second_probability,
        entropy: entropy(probabilities),
    }
}

/// `−Σ p ln p`, where `0 ln 0` is 0.
#[expect(clippy::cast_possible_truncation, reason = "at most ln(n_labels)")]
fn entropy(probabilities: &[f32]) -> f32 {
    let terms = probabilities.iter().map(|&p| f64::from(p)).filter(|&p| p > 0.0);
    // Not −0 for a certain answer.
    (-terms.map(|p| p * p.ln()).sum::<f64>()).max(0.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_the_exact_one() {
        for (x, y) in [
            (0.0, 0.0),
            (1.0, 0.841_344_746_068_543),
            (-1.0, -0.158_655_253_931_457),
            (3.0, 2.995_950_305_905_11),
        ] {
            assert!((gelu(x) - y).abs() < 1e-12, "gelu({x}) = {}", gelu(x));
        }
    }

    #[test]
    fn the_two_best_are_found_and_ties_go_to_the_first() {
        let p = top_two(&[0.2, 0.4, 0.4]);
        assert_eq!((p.label, p.second_label), (1, 2));
        assert_eq!(top_two(&[1.0]).second_probability, 0.0);
    }

    #[test]
    fn entropy_is_0_for_a_certain_answer_and_ln_n_for_none() {
        assert_eq!(entropy(&[0.0, 1.0, 0.0]).to_bits(), 0.0_f32.to_bits());
        assert!((entropy(&[0.25; 4]) - 4.0_f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn softmax_ignores_a_shift() {
        let (a, b) = (softmax(vec![1.0, 2.0, 3.0]), softmax(vec![1001.0, 1002.0, 1003.0]));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-7));
        assert!((a.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
