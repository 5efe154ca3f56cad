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
    // Factors that are kept as f16 are off by themselves; ten roundings are still far from a wrong kernel.
    let tolerance = TOLERANCE.max(10.0 * model.backend().rounding());
    if answer.len() == ANSWER.len() && worst <= tolerance {
        return Ok(model.into_backend());
    }
    Err(Error::Device {
        device: model.backend().name(),
        operation: "self-test".to_owned(),
        problem: format!(
            "a small layer is off by {worst:.1e} of its size, at most {tolerance:.0e} is right: this device or driver computes wrongly"
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
#[expect(clippy::cast_precision_loss, reason = "24 bits are exact in f32")]
fn number(i: u64) -> f32 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
}

/// The embeddings of [`Tokens`] and then the predicted values, from the f64 reference of `tests/reference`; `tests/self_test.rs` holds it.
#[rustfmt::skip]
pub const ANSWER: [f32; 83] = [
    0.54518, -1.28615, -1.03466, -1.28938, 0.61471, 0.07987, -2.0647, 1.31214, -0.44847, -1.11001,
    0.80767, 1.24644, -1.61219, 0.12378, -0.6174, -1.11064, -0.09086, -0.97004, -0.62051, 0.49265,
    0.47829, -1.33721, -0.97435, -0.81712, 0.79373, -0.03095, -1.95048, 1.81465, 0.25281, -1.39754,
    0.74419, 1.05499, -1.57291, 0.2771, -0.57751, -1.18003, 0.09241, -0.25334, -0.87713, 0.13093,
    -0.07084, -0.29237, 0.25596, -0.03749, 0.12296, 0.04083, -0.29044, 0.11192, 0.07742, 0.21651,
    0.10408, -0.31092, 0.07236, 0.23135, -0.00149, 0.00729, -0.33792, 0.06519, 0.29725, -0.12581,
    0.3825, -0.32925, 0.06732, 0.06951, -0.01782, 0.14184, -0.3144, 0.10446, 0.09585, 0.34212,
    -0.04063, -0.30566, 0.212, 0.12082, 0.16592, 0.08562, -0.3223, 0.34005, 0.1575, 0.10454,
    0.07557, 0.41279, 0.52986,
];
