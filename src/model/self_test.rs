//! A device proves itself before it is trusted: one small layer against a stored answer.
//!
//! The model has one layer of widths that fit no tile. Two cells go through it, one longer and one shorter than a tile of
//! keys, with masked and unattended tokens; first for the embedding alone, then for the predicted values of every row.

use super::batch::CellInput;
use super::checkpoint::{Checkpoint, tensor_shapes};
use super::config::Config;
use super::files::ModelFiles;
use super::forward::{Model, Want};
use crate::backend::Backend;
use crate::error::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::sync::Arc;

/// Relative to the root mean square of the answer; far above rounding, far below a wrong kernel.
const TOLERANCE: f64 = 1e-3;

/// Runs the model of [`files`] on `backend` and compares with [`ANSWER`].
///
/// # Errors
/// [`Error::Device`] when the answer is another.
pub async fn prove<B: Backend>(backend: B) -> Result<B> {
    let model = Model::load(backend, Checkpoint::open(&files()?)?)?;
    let answer = run(&model).await?;
    let rms = (ANSWER.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / ANSWER.len() as f64).sqrt();
    let worst = answer
        .iter()
        .zip(ANSWER)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max)
        / rms;
    if answer.len() == ANSWER.len() && worst <= TOLERANCE {
        return Ok(model.into_backend());
    }
    Err(Error::Device {
        device: model.backend().name(),
        operation: "self-test".to_owned(),
        problem: format!(
            "a small layer is off by {worst:.1e} of its size, at most {TOLERANCE:.0e} is right: this device or driver computes wrongly"
        ),
    })
}

async fn run<B: Backend>(model: &Model<B>) -> Result<Vec<f32>> {
    let tokens = Tokens::new();
    let mut answer = model.forward(&tokens.cells(), Want::default()).await?.latent;
    let want = Want {
        values: true,
        ..Want::default()
    };
    answer.extend(model.forward(&tokens.cells(), want).await?.values.concat());
    Ok(answer)
}

/// The tokens of both cells; the second has the first three of the first.
#[derive(Debug)]
pub struct Tokens {
    gene_ids: Vec<u32>,
    values: Vec<f32>,
    masked: Vec<bool>,
    attended: Vec<bool>,
}

impl Tokens {
    /// Makes them.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "one fixed value, not a default")]
    pub fn new() -> Self {
        Self {
            gene_ids: (0..N_GENES).map(|i| 2 + (i * 7) % 40).collect(),
            values: (1..=N_GENES).rev().map(|i| number(u64::from(i)).abs() * 3.0).collect(),
            masked: (0..N_GENES).map(|i| i % 5 == 1).collect(),
            attended: (0..N_GENES).map(|i| i % 11 != 3).collect(),
        }
    }

    /// The two cells.
    #[must_use]
    pub fn cells(&self) -> [CellInput<'_>; 2] {
        [
            CellInput {
                gene_ids: &self.gene_ids,
                values: &self.values,
                attended: Some(&self.attended),
                masked: Some(&self.masked),
            },
            CellInput {
                gene_ids: &self.gene_ids[..3],
                values: &self.values[..3],
                ..CellInput::default()
            },
        ]
    }
}

const N_GENES: u32 = 40;

/// The small model; its weights come from a counter.
///
/// # Errors
/// None in practice: everything is made here.
pub fn files() -> Result<ModelFiles> {
    const CONFIG: &str = r#"{"name": "self-test", "vocab_size": 50, "hidden_size": 20, "num_layers": 1, "num_heads": 2,
        "intermediate_size": 24, "max_genes": 40}"#;
    let config = Config::parse("self-test", CONFIG.as_bytes())?;
    let mut tensors = Vec::new();
    let mut counter = 0;
    for (name, shape) in tensor_shapes(&config) {
        let len = shape.iter().product::<usize>();
        let is_norm = name.contains("norm") || name == "latent_encoder.mlp.1.weight";
        let numbers: Vec<u8> = (counter..)
            .take(len)
            .map(|i| if is_norm { 1.0 + 0.1 * number(i) } else { 0.3 * number(i) })
            .flat_map(f32::to_le_bytes)
            .collect();
        counter += len as u64;
        tensors.push((name, shape, numbers));
    }
    let broken = |e: safetensors::SafeTensorError| Error::file("self-test", "model.safetensors", e);
    let mut views = Vec::new();
    for (name, shape, numbers) in &tensors {
        views.push((name, TensorView::new(Dtype::F32, shape.clone(), numbers).map_err(broken)?));
    }
    let mut files = ModelFiles::new("self-test");
    files.insert("config.json", Arc::new(CONFIG));
    files.insert(
        "model.safetensors",
        Arc::new(safetensors::serialize(views, None).map_err(broken)?),
    );
    Ok(files)
}

/// The `i`-th of a fixed series of numbers from −1 to 1 (the finaliser of splitmix64), exact in f32 on every machine.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "24 bits are exact in f32"
)]
fn number(i: u64) -> f32 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
}

/// What [`run`] gives, from the f64 reference of `tests/reference`; `tests/self_test.rs` holds it.
#[rustfmt::skip]
pub const ANSWER: [f32; 83] = [
    0.545183, -1.286154, -1.034663, -1.289380, 0.614713, 0.079869, -2.064696, 1.312139, -0.448472, -1.110009,
    0.807670, 1.246443, -1.612190, 0.123783, -0.617397, -1.110638, -0.090863, -0.970043, -0.620509, 0.492654,
    0.478290, -1.337206, -0.974347, -0.817125, 0.793732, -0.030946, -1.950482, 1.814651, 0.252810, -1.397540,
    0.744192, 1.054991, -1.572909, 0.277096, -0.577505, -1.180030, 0.092408, -0.253340, -0.877132, 0.130933,
    -0.070839, -0.292371, 0.255958, -0.037490, 0.122957, 0.040827, -0.290437, 0.111915, 0.077423, 0.216506,
    0.104081, -0.310920, 0.072365, 0.231348, -0.001493, 0.007293, -0.337918, 0.065188, 0.297253, -0.125811,
    0.382498, -0.329252, 0.067316, 0.069509, -0.017818, 0.141836, -0.314396, 0.104464, 0.095854, 0.342117,
    -0.040633, -0.305661, 0.212001, 0.120821, 0.165919, 0.085623, -0.322297, 0.340047, 0.157498, 0.104545,
    0.075571, 0.412785, 0.529863,
];
