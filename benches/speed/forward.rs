//! The whole forward pass: cells in, embeddings out.

use crate::measure::{self, Times, repeat, time};
use scdiva::backend::Backend;
use scdiva::gpu::{Counters, Gpu, KernelTime};
use scdiva::model::{CellInput, Checkpoint, Config, Model, Want};
use std::collections::BTreeMap;
use std::time::Duration;

/// Expressed genes of 16 cells: the quantiles 1/32, 3/32 … of the 2,638 cells of pbmc3k (10x, 3' v1), cut at 1,200 as the model does.
const BLOOD: [usize; 16] = [
    405, 546, 625, 674, 719, 753, 784, 808, 832, 859, 892, 936, 982, 1063, 1193, 1200,
];

/// One batch of one model on one device.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct ForwardRow {
    pub(crate) model: String,
    pub(crate) cells: String,
    pub(crate) n_cells: usize,
    /// Genes and one `[LAT]` a cell.
    pub(crate) n_rows: usize,
    pub(crate) times: Times,
    pub(crate) cells_per_s: f64,
    pub(crate) gflops: f64,
    /// Of the whole process, weights included.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) gpu: Option<GpuWork>,
}

/// What one batch asked of a GPU.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct GpuWork {
    pub(crate) n_dispatches: u64,
    pub(crate) n_submits: u64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    /// On the GPU's own clock, in passes of their own; empty where it has none.
    pub(crate) kernels: BTreeMap<&'static str, Kernel>,
}

/// The time of all dispatches of one kernel.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Kernel {
    pub(crate) n: usize,
    pub(crate) seconds: f64,
    pub(crate) gflops: f64,
}

/// Lengths of the cells of one batch.
pub(crate) struct Lengths {
    name: String,
    genes: Vec<usize>,
}

impl Lengths {
    pub(crate) fn equal(n_cells: usize, n_genes: usize) -> Self {
        Self {
            name: format!("{n_cells} x {n_genes} genes"),
            genes: vec![n_genes; n_cells],
        }
    }

    pub(crate) fn blood(config: &Config) -> Self {
        Self {
            name: "16 cells of blood".to_owned(),
            genes: BLOOD.iter().map(|&n| n.min(config.max_genes)).collect(),
        }
    }
}

/// Backends whose counters can be read.
pub(crate) trait Counted: Backend {
    fn counters(&self) -> Option<Counters> {
        None
    }
    fn start_timer(&self) -> bool {
        false
    }
    fn stop_timer(&self) -> BTreeMap<&'static str, KernelTime> {
        BTreeMap::new()
    }
}

impl Counted for scdiva::cpu::Cpu {}

impl Counted for Gpu {
    fn counters(&self) -> Option<Counters> {
        Some(Self::counters(self))
    }
    fn start_timer(&self) -> bool {
        Self::start_timer(self)
    }
    fn stop_timer(&self) -> BTreeMap<&'static str, KernelTime> {
        Self::stop_timer(self)
    }
}

/// Floating-point operations that a batch needs when only the embeddings are asked for. In the last layer all rows give keys and values, and the
/// `[LAT]` rows the rest.
pub(crate) fn flops(config: &Config, genes: &[usize]) -> f64 {
    let (d, f, layers) = (
        config.hidden_size as f64,
        config.intermediate_size as f64,
        config.num_layers as f64,
    );
    let of_cell = |&n_genes: &usize| {
        let rows = n_genes as f64 + 1.0;
        let embedding = 4.0 * rows * d * d;
        let layer = |all: f64, asked: f64| 4.0 * all * d * d + asked * (4.0 * d * d + 6.0 * d * f) + 4.0 * asked * all * d;
        embedding + (layers - 1.0) * layer(rows, rows) + layer(rows, 1.0)
    };
    genes.iter().map(of_cell).sum()
}

/// Tokens of a batch: ids and values from a fixed rule.
pub(crate) struct Tokens(Vec<(Vec<u32>, Vec<f32>)>);

impl Tokens {
    pub(crate) fn new(config: &Config, genes: &[usize]) -> Self {
        // Past the special ids at both ends; 7,919 is prime, so that no id comes twice.
        let n_ids = config.pad_fill_token_id - 2;
        let cell = |(cell, &n): (usize, &usize)| {
            let ids = (0_u32..).take(n).map(|i| 2 + (i * 7_919 + 13 * cell as u32) % n_ids);
            let values = (0..n).map(|i| 4.0 * (1.0 - i as f32 / n as f32) + 0.3);
            (ids.collect(), values.collect())
        };
        Self(genes.iter().enumerate().map(cell).collect())
    }

    pub(crate) fn inputs(&self) -> Vec<CellInput<'_>> {
        self.0
            .iter()
            .map(|(gene_ids, values)| CellInput {
                gene_ids,
                values,
                ..CellInput::default()
            })
            .collect()
    }
}

/// Loads a model and runs batches of these lengths.
pub(crate) fn run<B: Counted>(
    name: &str,
    backend: B,
    checkpoint: Checkpoint,
    batches: &[Lengths],
    budget: Duration,
) -> Result<Vec<ForwardRow>, String> {
    let text = |e: scdiva::Error| e.to_string();
    let config = checkpoint.config.clone();
    let model = Model::load(backend, checkpoint).map_err(text)?;
    let mut rows = vec![];
    for lengths in batches {
        let tokens = Tokens::new(&config, &lengths.genes);
        let inputs = tokens.inputs();
        let n_rows: usize = lengths.genes.iter().map(|n| n + 1).sum();
        let mut failed = None;
        measure::forget_peak_memory();
        let mut once = || {
            time(|| {
                if let Err(e) = pollster::block_on(model.forward(&inputs, Want::default())) {
                    failed = Some(e.to_string());
                }
            })
        };
        let times = repeat(budget, &mut once);
        let peak_memory = measure::peak_memory();
        let before = model.backend().counters();
        once();
        let after = model.backend().counters();
        let kernels = match model.backend().start_timer() {
            true => {
                once();
                model.backend().stop_timer()
            }
            false => BTreeMap::new(),
        };
        if let Some(e) = failed {
            return Err(format!("{name}, {}: {e}", lengths.name));
        }
        let kernel = |(name, time): (&'static str, KernelTime)| {
            let gflops = time.flops as f64 / time.seconds / 1e9;
            let (n, seconds) = (time.n, time.seconds);
            (name, Kernel { n, seconds, gflops })
        };
        rows.push(ForwardRow {
            model: name.to_owned(),
            cells: lengths.name.clone(),
            n_cells: inputs.len(),
            n_rows,
            times,
            cells_per_s: inputs.len() as f64 / times.best,
            gflops: flops(&config, &lengths.genes) / times.best / 1e9,
            peak_memory,
            gpu: before.zip(after).map(|(before, after)| GpuWork {
                n_dispatches: after.n_dispatches - before.n_dispatches,
                n_submits: after.n_submits - before.n_submits,
                bytes_up: after.bytes_up - before.bytes_up,
                bytes_down: after.bytes_down - before.bytes_down,
                kernels: kernels.into_iter().map(kernel).collect(),
            }),
        });
    }
    Ok(rows)
}
