//! The whole model for one cell.

use super::ops::{layer_norm, relu, rms_norm};
use super::random::{Stream, tensor_mat};
use super::{Mat, dot, matmul, silu, softmax};
use rayon::prelude::*;
use std::collections::HashMap;

/// The sizes of a model. The fixed ones: norm eps 1e-5, pad token 0, mask token 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    pub intermediate_size: usize,
    pub max_genes: usize,
    pub rope_theta: f64,
}

pub const NORM_EPS: f64 = 1e-5;
pub const PAD_TOKEN_ID: usize = 0;

impl Sizes {
    /// The last three ids of the vocabulary are pad-fill, bos and eos.
    pub fn pad_fill_token_id(&self) -> usize {
        self.vocab_size - 3
    }

    /// Names and shapes of all tensors of a checkpoint.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (v, d, f) = (self.vocab_size, self.hidden_size, self.intermediate_size);
        let mut tensors: Vec<(String, Vec<usize>)> = [
            ("gene_embedding.weight", vec![v, d]),
            ("value_encoder.0.weight", vec![d, 1]),
            ("value_encoder.0.bias", vec![d]),
            ("value_encoder.2.weight", vec![d, d]),
            ("value_encoder.2.bias", vec![d]),
            ("gene_mask_emb", vec![d]),
            ("value_mask_emb", vec![d]),
            ("input_proj.weight", vec![d, d]),
            ("latent_encoder.mlp.0.weight", vec![d, d]),
            ("latent_encoder.mlp.0.bias", vec![d]),
            ("latent_encoder.mlp.1.weight", vec![d]),
            ("latent_encoder.mlp.1.bias", vec![d]),
            ("latent_encoder.mlp.3.weight", vec![d, d]),
            ("latent_encoder.mlp.3.bias", vec![d]),
            ("final_norm.weight", vec![d]),
            ("gene_head.weight", vec![v, d]),
            ("value_head.0.weight", vec![d, d]),
            ("value_head.0.bias", vec![d]),
            ("value_head.2.weight", vec![1, d]),
            ("value_head.2.bias", vec![1]),
        ]
        .map(|(name, shape)| (name.to_owned(), shape))
        .into();
        for i in 0..self.num_layers {
            for name in ["norm1", "norm2"] {
                tensors.push((format!("layers.{i}.{name}.weight"), vec![d]));
            }
            for name in ["q", "k", "v", "o"] {
                tensors.push((format!("layers.{i}.attn.{name}_proj.weight"), vec![d, d]));
            }
            for (name, shape) in [("gate", vec![f, d]), ("up", vec![f, d]), ("down", vec![d, f])] {
                tensors.push((format!("layers.{i}.mlp.{name}_proj.weight"), shape));
            }
        }
        tensors
    }
}

/// One cell as the model takes it; all of length L.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub gene_ids: Vec<u32>,
    pub values: Vec<f32>,
    pub attended: Vec<bool>,
    pub masked: Vec<bool>,
}

impl Cell {
    /// A random cell: padding, by either pad token, stands anywhere in it and keeps its values.
    pub fn random(seed: u64, sizes: &Sizes, n_genes: usize, mask_share: f64, pad_share: f64) -> Self {
        let stream = |name| Stream::new(seed, name);
        let (genes, values, masked) = (stream("gene_ids"), stream("values"), stream("masked"));
        let (padding, fill) = (stream("padding"), stream("fill"));
        let mut cell = Self {
            gene_ids: vec![],
            values: vec![],
            attended: vec![],
            masked: vec![],
        };
        for i in 0..n_genes {
            let is_pad = padding.uniform(i) < pad_share;
            let id = match is_pad {
                false => 2 + genes.below(i, sizes.vocab_size - 5),
                true if fill.uniform(i) < 0.5 => PAD_TOKEN_ID,
                true => sizes.pad_fill_token_id(),
            };
            cell.gene_ids.push(id as u32);
            cell.values.push((6.0 * values.uniform(i)) as f32);
            cell.attended.push(!is_pad);
            cell.masked.push(masked.uniform(i) < mask_share);
        }
        cell
    }
}

/// What the model says of one cell of L genes; T = L + 1.
#[derive(Debug, Clone)]
pub struct Answer {
    /// `[1, D]`, the cell embedding.
    pub latent: Mat,
    /// `[L, D]`.
    pub hidden: Mat,
    /// `[L, V]`.
    pub gene_logits: Mat,
    /// `[L]`.
    pub values: Vec<f64>,
    /// For every layer `[H · T, T]`.
    pub attention: Vec<Mat>,
}

/// The model with random weights of a seed, which are made when they are needed, or with those that are given.
#[derive(Debug, Clone)]
pub struct Model {
    pub sizes: Sizes,
    pub seed: u64,
    pub given: HashMap<String, Mat>,
}

impl Model {
    pub fn new(sizes: Sizes, seed: u64) -> Self {
        Self {
            sizes,
            seed,
            given: HashMap::new(),
        }
    }

    fn tensor(&self, name: &str) -> Mat {
        if let Some(given) = self.given.get(name) {
            return given.clone();
        }
        let tensors = self.sizes.tensors();
        let (name, shape) = tensors
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("no tensor {name}"));
        tensor_mat(self.seed, name, shape)
    }

    /// `x Wᵀ + b`.
    fn linear(&self, x: &Mat, name: &str) -> Mat {
        let y = matmul(x, &self.tensor(&format!("{name}.weight")));
        add(&y, &self.tensor(&format!("{name}.bias")))
    }

    /// `x Wᵀ`.
    fn project(&self, x: &Mat, name: &str) -> Mat {
        matmul(x, &self.tensor(&format!("{name}.weight")))
    }

    pub fn forward(&self, cell: &Cell) -> Answer {
        let n_genes = cell.gene_ids.len();
        let d = self.sizes.hidden_size;

        // 1. Tokens.
        let gene = self
            .tensor("gene_embedding.weight")
            .pick(cell.gene_ids.iter().map(|&id| id as usize));
        let values = Mat::from_f32(n_genes, 1, &cell.values);
        // value_encoder.0.weight is [D, 1].
        let value = self.linear(&relu(&self.linear(&values, "value_encoder.0")), "value_encoder.2");
        let clean = add(&gene, &value);

        // 2. The latent token, from the clean tokens.
        let attended: Vec<usize> = (0..n_genes).filter(|&i| cell.attended[i]).collect();
        let mut mean = Mat::zeros(1, d);
        for &i in &attended {
            for c in 0..d {
                mean.data[c] += clean.row(i)[c] / attended.len() as f64;
            }
        }
        let latent = self.linear(&mean, "latent_encoder.mlp.0");
        let weight = self.tensor("latent_encoder.mlp.1.weight");
        let bias = self.tensor("latent_encoder.mlp.1.bias");
        let latent = relu(&layer_norm(&latent, &weight, &bias, NORM_EPS));
        let latent = self.linear(&latent, "latent_encoder.mlp.3");

        // 3. Masks, projection, the latent token in front.
        let mask = add(&self.tensor("gene_mask_emb"), &self.tensor("value_mask_emb"));
        let tokens = clean.map_rows(d, |i, row| if cell.masked[i] { mask.data.clone() } else { row.to_vec() });
        let x = self.project(&tokens, "input_proj");
        let mut h = Mat::new(n_genes + 1, d, [latent.data, x.data].concat());

        // 4. Blocks. Token 0 is [LAT], always attended.
        let is_key: Vec<bool> = std::iter::once(true).chain(cell.attended.iter().copied()).collect();
        let mut attention = vec![];
        for i in 0..self.sizes.num_layers {
            let y = rms_norm(&h, &self.tensor(&format!("layers.{i}.norm1.weight")), NORM_EPS);
            let q = self.rotate(&self.project(&y, &format!("layers.{i}.attn.q_proj")));
            let k = self.rotate(&self.project(&y, &format!("layers.{i}.attn.k_proj")));
            let v = self.project(&y, &format!("layers.{i}.attn.v_proj"));
            let (attended, maps) = self.attention(&q, &k, &v, &is_key);
            h = add(&h, &self.project(&attended, &format!("layers.{i}.attn.o_proj")));
            attention.push(maps);

            let y = rms_norm(&h, &self.tensor(&format!("layers.{i}.norm2.weight")), NORM_EPS);
            let gate = self.project(&y, &format!("layers.{i}.mlp.gate_proj"));
            let up = self.project(&y, &format!("layers.{i}.mlp.up_proj"));
            let inner = gate.map_rows(gate.n_cols, |r, row| {
                row.iter().zip(up.row(r)).map(|(g, u)| silu(*g) * u).collect()
            });
            h = add(&h, &self.project(&inner, &format!("layers.{i}.mlp.down_proj")));
        }

        // 5. and 6.
        let h = rms_norm(&h, &self.tensor("final_norm.weight"), NORM_EPS);
        let hidden = h.pick(1..n_genes + 1);
        Answer {
            latent: h.pick(0..1),
            gene_logits: self.project(&hidden, "gene_head"),
            values: self.linear(&relu(&self.linear(&hidden, "value_head.0")), "value_head.2").data,
            hidden,
            attention,
        }
    }

    /// Rotary positions in the rotate-half form: in every head, pairs are `i` and `i + d/2`; the position is the row.
    fn rotate(&self, x: &Mat) -> Mat {
        let head_size = self.sizes.hidden_size / self.sizes.num_heads;
        let half = head_size / 2;
        x.map_rows(x.n_cols, |position, row| {
            let mut out = vec![0.0; row.len()];
            for head in (0..row.len()).step_by(head_size) {
                for i in 0..half {
                    let frequency = self.sizes.rope_theta.powf(-2.0 * i as f64 / head_size as f64);
                    let (sin, cos) = (position as f64 * frequency).sin_cos();
                    let (a, b) = (row[head + i], row[head + i + half]);
                    out[head + i] = a * cos - b * sin;
                    out[head + i + half] = b * cos + a * sin;
                }
            }
            out
        })
    }

    /// Gives the attended values `[T, D]` and the probabilities `[H · T, T]`.
    fn attention(&self, q: &Mat, k: &Mat, v: &Mat, is_key: &[bool]) -> (Mat, Mat) {
        let (n, n_heads) = (q.n_rows, self.sizes.num_heads);
        let head_size = self.sizes.hidden_size / n_heads;
        let scale = 1.0 / (head_size as f64).sqrt();
        let maps: Vec<f64> = (0..n_heads * n)
            .into_par_iter()
            .flat_map_iter(|r| {
                let (columns, query) = (r / n * head_size..(r / n + 1) * head_size, r % n);
                let score = |j: usize| match is_key[j] {
                    true => scale * dot(&q.row(query)[columns.clone()], &k.row(j)[columns.clone()]),
                    false => f64::NEG_INFINITY,
                };
                softmax(&(0..n).map(score).collect::<Vec<f64>>())
            })
            .collect();
        let maps = Mat::new(n_heads * n, n, maps);
        let out = q.map_rows(q.n_cols, |query, _| {
            let mut out = vec![0.0; q.n_cols];
            for (h, out) in out.chunks_exact_mut(head_size).enumerate() {
                for (j, weight) in maps.row(h * n + query).iter().enumerate() {
                    for (out, v) in out.iter_mut().zip(&v.row(j)[h * head_size..]) {
                        *out += weight * v;
                    }
                }
            }
            out
        });
        (out, maps)
    }
}

/// `x + y`; `y` may be one row, which is then added to every row.
fn add(x: &Mat, y: &Mat) -> Mat {
    x.map_rows(x.n_cols, |r, row| {
        row.iter()
            .zip(y.row(if y.n_rows == 1 { 0 } else { r }))
            .map(|(x, y)| x + y)
            .collect()
    })
}
