//! burn on wgpu, the forward pass by hand: `peer-burn FOLDER CASE`. Which adapter: burn's CUBECL_WGPU_DEFAULT_DEVICE, such as `Cpu`.

use burn::tensor::activation::{relu, silu};
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use peer_common::{Case, Failure, Options, Peer, Sizes, report};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::Path;

struct Encoder {
    sizes: Sizes,
    /// Linear weights as burn wants them, `[in, out]`; the embedding as it is.
    matrices: HashMap<String, Tensor<2>>,
    vectors: HashMap<String, Tensor<1>>,
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl Encoder {
    fn load(folder: &Path, device: &Device) -> Result<Self, Failure> {
        let sizes = Sizes::read(folder)?;
        let file = std::fs::read(folder.join("model.safetensors"))?;
        let tensors = SafeTensors::deserialize(&file)?;
        let (mut matrices, mut vectors) = (HashMap::new(), HashMap::new());
        for (name, tensor) in tensors.iter().filter(|(name, _)| !name.contains("head")) {
            let numbers: Vec<f32> = tensor
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|&four| f32::from_le_bytes(four))
                .collect();
            match *tensor.shape() {
                [n] => {
                    vectors.insert(name.to_owned(), Tensor::from_data(TensorData::new(numbers, [n]), device));
                }
                [n_rows, n_cols] if name.starts_with("gene_embedding") => {
                    let data = TensorData::new(numbers, [n_rows, n_cols]);
                    matrices.insert(name.to_owned(), Tensor::from_data(data, device));
                }
                [n_rows, n_cols] => {
                    let turned = (0..n_rows * n_cols)
                        .map(|i| numbers[i % n_rows * n_cols + i / n_rows])
                        .collect();
                    let data = TensorData::new::<f32, _>(turned, [n_cols, n_rows]);
                    matrices.insert(name.to_owned(), Tensor::from_data(data, device));
                }
                _ => return Err(format!("{name}: shape {:?}", tensor.shape()).into()),
            }
        }
        for i in 0..sizes.num_layers {
            let mut join = |to: &str, from: &[&str]| {
                let parts = from
                    .iter()
                    .filter_map(|part| matrices.remove(&format!("layers.{i}.{part}.weight")));
                let joined = Tensor::cat(parts.collect(), 1);
                matrices.insert(format!("layers.{i}.{to}.weight"), joined);
            };
            join("qkv", &["attn.q_proj", "attn.k_proj", "attn.v_proj"]);
            join("gate_up", &["mlp.gate_proj", "mlp.up_proj"]);
        }
        let [cos, sin] = sizes.rope_tables().map(|table| {
            let half = TensorData::new(table, [sizes.max_genes + 1, sizes.hidden_size / sizes.num_heads / 2]);
            let half = Tensor::<2>::from_data(half, device);
            Tensor::cat(vec![half.clone(), half], 1)
        });
        Ok(Self {
            sizes,
            matrices,
            vectors,
            cos,
            sin,
        })
    }

    fn vector(&self, name: &str) -> Tensor<1> {
        self.vectors[name].clone()
    }

    fn linear<const D: usize>(&self, x: Tensor<D>, name: &str) -> Tensor<D> {
        linear(x, self.matrices[&format!("{name}.weight")].clone(), None)
    }

    fn biased<const D: usize>(&self, x: Tensor<D>, name: &str) -> Tensor<D> {
        let bias = self.vector(&format!("{name}.bias"));
        linear(x, self.matrices[&format!("{name}.weight")].clone(), Some(bias))
    }

    fn norm<const D: usize>(&self, x: Tensor<D>, name: &str) -> Tensor<D> {
        let rms = (x.clone().square().mean_dim(D - 1) + self.sizes.norm_eps).sqrt();
        x / rms * self.vector(&format!("{name}.weight")).unsqueeze()
    }

    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, n_tokens, head_size] = x.dims();
        let table = |table: &Tensor<2>| table.clone().narrow(0, 0, n_tokens).unsqueeze::<4>();
        let (left, right) = (
            x.clone().narrow(3, 0, head_size / 2),
            x.clone().narrow(3, head_size / 2, head_size / 2),
        );
        x * table(&self.cos) + Tensor::cat(vec![right.neg(), left], 3) * table(&self.sin)
    }

    /// `[n_cells, hidden_size]`.
    fn forward(&self, gene_ids: Tensor<2, Int>, values: Tensor<2>, attended: Option<Tensor<2>>) -> Tensor<2> {
        let [n_cells, n_genes] = gene_ids.dims();
        let (d, n_heads, n_tokens) = (self.sizes.hidden_size, self.sizes.num_heads, n_genes + 1);
        let value = relu(self.biased(values.unsqueeze_dim::<3>(2), "value_encoder.0"));
        let value = self.biased(value, "value_encoder.2");
        let gene = self.matrices["gene_embedding.weight"].clone();
        let gene = gene.select(0, gene_ids.reshape([n_cells * n_genes]));
        let clean = gene.reshape([n_cells, n_genes, d]) + value;
        let (lat, mask) = match attended {
            None => (clean.clone().mean_dim(1).reshape([n_cells, d]), None),
            Some(attended) => {
                let total = (clean.clone() * attended.clone().unsqueeze_dim(2)).sum_dim(1);
                let lat = total.reshape([n_cells, d]) / attended.clone().sum_dim(1);
                let lat_key = Tensor::<2>::ones([n_cells, 1], &attended.device());
                let absent: Tensor<2, Bool> = Tensor::cat(vec![lat_key, attended], 1).lower_elem(0.5);
                let absent = absent.reshape([n_cells, 1, 1, n_tokens]);
                (lat, Some(absent.expand([n_cells, n_heads, n_tokens, n_tokens])))
            }
        };
        let [scale, shift] = ["weight", "bias"].map(|part| self.vector(&format!("latent_encoder.mlp.1.{part}")));
        let lat = self.biased(lat, "latent_encoder.mlp.0");
        let lat = relu(layer_norm(lat, scale, Some(shift), self.sizes.norm_eps));
        let lat = self.biased(lat, "latent_encoder.mlp.3").unsqueeze_dim::<3>(1);
        let mut h = Tensor::cat(vec![lat, self.linear(clean, "input_proj")], 1);
        for i in 0..self.sizes.num_layers {
            let name = |part| format!("layers.{i}.{part}");
            let qkv = self.linear(self.norm(h.clone(), &name("norm1")), &name("qkv"));
            let part = |i: usize| {
                let part = qkv.clone().narrow(2, i * d, d);
                part.reshape([n_cells, n_tokens, n_heads, d / n_heads]).swap_dims(1, 2)
            };
            let (q, k) = (self.rotate(part(0)), self.rotate(part(1)));
            let context = attention(q, k, part(2), mask.clone(), None, Default::default());
            let context = context.swap_dims(1, 2).reshape([n_cells, n_tokens, d]);
            h = h + self.linear(context, &name("attn.o_proj"));
            let inner = self.linear(self.norm(h.clone(), &name("norm2")), &name("gate_up"));
            let inner = inner.chunk(2, 2);
            let inner = silu(inner[0].clone()) * inner[1].clone();
            h = h + self.linear(inner, &name("mlp.down_proj"));
        }
        self.norm(h.narrow(1, 0, 1).reshape([n_cells, d]), "final_norm")
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::from_arguments()?;
    let case = Case::read(&options.folder, &options.case)?;
    let shape = [case.lengths.len(), case.width];
    report(&case, options.seconds, || {
        let device = Device::wgpu(Default::default());
        let encoder = Encoder::load(&options.folder, &device)?;
        device.sync()?;
        let peer = Peer {
            name: "burn (wgpu, fusion, autotune)".to_owned(),
            version: "0.22.0".to_owned(),
            device: device
                .identity()
                .map_or_else(|| format!("{device:?}"), |identity| identity.name.to_string()),
            threads: options.threads,
        };
        let gene_ids = Tensor::<2, Int>::from_data(TensorData::new(case.gene_ids.clone(), shape), &device);
        let values = Tensor::<2>::from_data(TensorData::new(case.values.clone(), shape), &device);
        let attended = TensorData::new(case.attended(), shape);
        let attended = case.is_masked().then(|| Tensor::<2>::from_data(attended, &device));
        let run = move || {
            let embedding = encoder.forward(gene_ids.clone(), values.clone(), attended.clone());
            embedding
                .try_into_data()?
                .try_to_vec::<f32>()
                .map_err(|error| format!("{error:?}").into())
        };
        Ok((peer, run))
    })
}
