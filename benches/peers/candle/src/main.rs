//! candle on the CPU, the forward pass by hand: `peer-candle FOLDER CASE`. Its own
//! `flash_attn` is for one cell or for equal lengths, and took a third longer than the two products here at 1,200 genes.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{ops, rotary_emb};
use peer_common::{Case, Failure, Options, Peer, Sizes, report};
use std::collections::HashMap;
use std::path::Path;

const DEVICE: &Device = &Device::Cpu;

struct Encoder {
    sizes: Sizes,
    weights: HashMap<String, Tensor>,
    cos: Tensor,
    sin: Tensor,
}

impl Encoder {
    fn load(folder: &Path) -> std::result::Result<Self, Failure> {
        let sizes = Sizes::read(folder)?;
        let mut weights = candle_core::safetensors::load(folder.join("model.safetensors"), DEVICE)?;
        weights.retain(|name, _| !name.contains("head"));
        for i in 0..sizes.num_layers {
            let mut join = |to: &str, from: &[&str]| -> Result<()> {
                let parts = from
                    .iter()
                    .filter_map(|part| weights.remove(&format!("layers.{i}.{part}.weight")));
                let joined = Tensor::cat(&parts.collect::<Vec<_>>(), 0)?;
                weights.insert(format!("layers.{i}.{to}.weight"), joined);
                Ok(())
            };
            join("qkv", &["attn.q_proj", "attn.k_proj", "attn.v_proj"])?;
            join("gate_up", &["mlp.gate_proj", "mlp.up_proj"])?;
        }
        let shape = (sizes.max_genes + 1, sizes.hidden_size / sizes.num_heads / 2);
        let [cos, sin] = sizes.rope_tables();
        Ok(Self {
            cos: Tensor::from_vec(cos, shape, DEVICE)?,
            sin: Tensor::from_vec(sin, shape, DEVICE)?,
            sizes,
            weights,
        })
    }

    /// Every row of `x` times a weight; one product for all cells.
    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let w = &self.weights[&format!("{name}.weight")];
        let mut shape = x.dims().to_vec();
        let y = x.reshape(((), w.dim(1)?))?.matmul(&w.t()?)?;
        if let Some(last) = shape.last_mut() {
            *last = w.dim(0)?;
        }
        y.reshape(shape)
    }

    fn biased(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        self.linear(x, name)?.broadcast_add(&self.weights[&format!("{name}.bias")])
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        ops::rms_norm(x, &self.weights[&format!("{name}.weight")], self.sizes.norm_eps as f32)
    }

    /// `[n_cells, hidden_size]`.
    fn forward(&self, gene_ids: &Tensor, values: &Tensor, attended: Option<&Tensor>) -> Result<Tensor> {
        let (n_cells, n_genes) = gene_ids.dims2()?;
        let (d, n_tokens) = (self.sizes.hidden_size, n_genes + 1);
        let value = self.biased(&values.unsqueeze(2)?, "value_encoder.0")?.relu()?;
        let value = self.biased(&value, "value_encoder.2")?;
        let gene = self.weights["gene_embedding.weight"].index_select(&gene_ids.flatten_all()?, 0)?;
        let clean = (gene.reshape((n_cells, n_genes, d))? + value)?;
        let lat = match attended {
            None => clean.mean(1)?,
            Some(attended) => (clean.broadcast_mul(&attended.unsqueeze(2)?)?.sum(1)?).broadcast_div(&attended.sum_keepdim(1)?)?,
        };
        let bias = match attended {
            None => None,
            Some(attended) => {
                let keys = Tensor::cat(&[&Tensor::ones((n_cells, 1), DType::F32, DEVICE)?, attended], 1)?;
                Some(((keys - 1.0)? * 1e9)?.reshape((n_cells, 1, 1, n_tokens))?)
            }
        };
        let [scale, shift] = ["weight", "bias"].map(|part| &self.weights[&format!("latent_encoder.mlp.1.{part}")]);
        let lat = self.biased(&lat, "latent_encoder.mlp.0")?;
        let lat = ops::layer_norm(&lat, scale, shift, self.sizes.norm_eps as f32)?.relu()?;
        let lat = self.biased(&lat, "latent_encoder.mlp.3")?.unsqueeze(1)?;
        let mut h = Tensor::cat(&[&lat, &self.linear(&clean, "input_proj")?], 1)?;
        for i in 0..self.sizes.num_layers {
            let name = |part| format!("layers.{i}.{part}");
            let qkv = self.linear(&self.norm(&h, &name("norm1"))?, &name("qkv"))?;
            let context = self.attention(&qkv, bias.as_ref())?;
            h = (h + self.linear(&context, &name("attn.o_proj"))?)?;
            let inner = ops::swiglu(&self.linear(&self.norm(&h, &name("norm2"))?, &name("gate_up"))?)?;
            h = (h + self.linear(&inner, &name("mlp.down_proj"))?)?;
        }
        self.norm(&h.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?, "final_norm")
    }

    fn attention(&self, qkv: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (n_cells, n_tokens, _) = qkv.dims3()?;
        let (d, n_heads) = (self.sizes.hidden_size, self.sizes.num_heads);
        let head_size = d / n_heads;
        let part = |i: usize| -> Result<Tensor> {
            let part = qkv
                .narrow(D::Minus1, i * d, d)?
                .reshape((n_cells, n_tokens, n_heads, head_size))?;
            part.transpose(1, 2)?.contiguous()
        };
        let rotate = |x: Tensor| rotary_emb::rope(&x, &self.cos, &self.sin);
        let (q, k, v) = (rotate(part(0)?)?, rotate(part(1)?)?, part(2)?);
        let scale = 1.0 / (head_size as f64).sqrt();
        let mut scores = (q.matmul(&k.t()?)? * scale)?;
        if let Some(bias) = bias {
            scores = scores.broadcast_add(bias)?;
        }
        let context = ops::softmax_last_dim(&scores)?.matmul(&v)?;
        context.transpose(1, 2)?.reshape((n_cells, n_tokens, d))
    }
}

fn main() -> std::result::Result<(), Failure> {
    let options = Options::from_arguments()?;
    let case = Case::read(&options.folder, &options.case)?;
    rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global()?;
    let shape = (case.lengths.len(), case.width);
    let gene_ids: Vec<u32> = case.gene_ids.iter().map(|id| id.unsigned_abs()).collect();
    let gene_ids = Tensor::from_vec(gene_ids, shape, DEVICE)?;
    let values = Tensor::from_slice(&case.values, shape, DEVICE)?;
    let attended = case
        .is_masked()
        .then(|| Tensor::from_vec(case.attended(), shape, DEVICE))
        .transpose()?;
    report(&case, options.seconds, || {
        let encoder = Encoder::load(&options.folder)?;
        let peer = Peer {
            name: "candle".to_owned(),
            version: "0.11.1".to_owned(),
            device: "cpu".to_owned(),
            threads: options.threads,
        };
        let run = move || {
            Ok(encoder
                .forward(&gene_ids, &values, attended.as_ref())?
                .flatten_all()?
                .to_vec1()?)
        };
        Ok((peer, run))
    })
}
