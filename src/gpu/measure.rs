//! Which of the kernels is the quickest: a short measurement when a GPU is first opened. Not in browsers, which round their clocks.

use super::Gpu;
use super::choose::{AttentionKernel, LinearKernel, Tuning};
use super::device::GpuInfo;
use super::kernels::attention::TILE_64_MEMORY;
use crate::backend::{Backend, CellRows, Columns, Epilogue, PackedRows, Queries};
use crate::error::Result;

/// What is measured against each other.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) linear: Vec<LinearKernel>,
    pub(super) attention: Vec<AttentionKernel>,
}

impl Candidates {
    /// What the adapter can run, but for what is meant for adapters that compute on the CPU.
    pub(super) fn of(info: &GpuInfo) -> Self {
        let mut linear = vec![LinearKernel::Tile32, LinearKernel::Tile64, LinearKernel::Tile128];
        let mut attention = vec![AttentionKernel::Tile32];
        if info.workgroup_memory >= TILE_64_MEMORY {
            attention.push(AttentionKernel::Tile64);
        }
        if info.f16_arithmetic {
            linear.push(LinearKernel::F16);
        }
        if info.matrix_side > 0 {
            linear.extend([LinearKernel::Matrix, LinearKernel::MatrixSmall]);
            attention.push(AttentionKernel::Matrix);
        }
        Self { linear, attention }
    }
}

impl Gpu {
    /// The quickest of those candidates that are right; none where nothing could be measured.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a speed of two digits is enough"
    )]
    pub(super) async fn measured(&mut self, key: String, candidates: &Candidates) -> Result<Option<Tuning>> {
        // A short cell, a long one, and a batch.
        const ROWS: [usize; 3] = [129, 1201, 4096];
        // The widths of the released model: of its largest product, and of attention.
        const N_IN: usize = 512;
        const N_OUT: usize = 1536;
        const HEAD_SIZE: usize = 64;
        if candidates.linear.is_empty() || !self.opened.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let mut linear = Vec::new();
        for &kernel in &candidates.linear {
            if self.is_right(kernel, false).await? {
                linear.push(kernel);
            }
        }
        let mut attention = Vec::new();
        for &kernel in &candidates.attention {
            if self.attends_right(kernel).await? {
                attention.push(kernel);
            }
        }

        let weight = super::Weight {
            n_rows: N_OUT,
            n_cols: N_IN,
            half: self.half,
            slices: vec![super::Slice {
                rows: 0..N_OUT,
                buffer: self.exact_buffer(N_OUT * N_IN * if self.half { 2 } else { 4 }),
            }],
        };
        let before = self.choice;
        let mut quickest = [None; ROWS.len()];
        for (quickest, n_rows) in quickest.iter_mut().zip(ROWS) {
            let x = self.tensor(n_rows, N_IN)?;
            *quickest = self.quickest(&linear, |gpu, kernel| {
                gpu.choice = before.with_linear(kernel);
                gpu.linear(&x, &weight, 0..N_OUT, Epilogue::None)
            })?;
        }
        self.choice = before;
        let cell = |first_row| CellRows {
            first_row,
            n_rows: 600,
            n_keys: 600,
        };
        let rows = PackedRows {
            cells: (0..8).map(|i| cell(600 * i)).collect(),
            gene_ids: vec![0; 4800],
            values: vec![0.0; 4800],
            masked: vec![0; 4800],
            positions: vec![0; 4800],
        };
        let qkv = self.tensor(4800, 3 * N_IN)?;
        let part = |first| Columns { tensor: &qkv, first };
        let attention = self.quickest(&attention, |gpu, kernel| {
            gpu.choice.attention = kernel;
            let batch = gpu.batch(&rows)?;
            let [q, k, v] = [0, 1, 2].map(|i| part(i * N_IN));
            gpu.attention(q, k, v, &batch, Queries::AllRows, N_IN / HEAD_SIZE, HEAD_SIZE)
        })?;
        self.choice = before;
        let [Some((few, _)), Some((some, _)), Some((many, seconds))] = quickest else {
            return Ok(None);
        };
        let flops = 2 * ROWS[2] * N_IN * N_OUT;
        Ok(Some(Tuning {
            key,
            linear: [few, some, many],
            attention: attention.map_or(before.attention, |(kernel, _)| kernel),
            flops: (flops as f64 / seconds) as u64,
        }))
    }

    /// The quickest of some kernels, and how long it takes.
    fn quickest<K: Copy>(
        &mut self,
        kernels: &[K],
        mut run: impl FnMut(&mut Self, K) -> Result<super::Tensor>,
    ) -> Result<Option<(K, f64)>> {
        const ROUNDS: usize = 4;
        let mut times = vec![f64::INFINITY; kernels.len()];
        // In turn, since a card that was idle takes a while to reach its clock; in the first round they are compiled.
        for round in 0..ROUNDS {
            for (time, &kernel) in times.iter_mut().zip(kernels) {
                let is_timed = round > 0 && self.start_timer();
                drop::<super::Tensor>(run(self, kernel)?);
                let seconds: f64 = self.stop_timer().values().map(|time| time.seconds).sum();
                if is_timed && seconds > 0.0 {
                    *time = time.min(seconds);
                }
            }
        }
        let found = kernels.iter().copied().zip(times).filter(|(_, time)| time.is_finite());
        Ok(found.min_by(|(_, a), (_, b)| a.total_cmp(b)))
    }
}
