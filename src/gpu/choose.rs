//! Which kernel computes an operation, by adapter and shape: a table, then a short measurement. Nothing is used that does not compute right.

use super::Gpu;
use super::device::{GpuInfo, GpuOptions, Precision};
use crate::backend::{Backend, CellRows, Columns, PackedRows, Queries};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The kernels of `linear` and `linear_add`, by what they are in `shaders/`. All but the first want a number of terms that is a multiple of 4,
/// and leave other products to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearKernel {
    /// `linear`: tiles of 64 × 64 in workgroup memory, any shape.
    Any,
    /// `linear_64`: the same, four numbers at a time.
    Tile64,
    /// `linear_128`: tiles of 128 × 128, for many rows.
    Tile128,
    /// `linear_f16`: the same with products in f16, for [`Precision::F16`] where the adapter has that arithmetic.
    F16,
    /// `linear_matrix`: with products in f16 by matrix units, for [`Precision::F16`] where the adapter has them and wgpu offers them.
    Matrix,
    /// `linear_registers`: without workgroup memory and barriers, for adapters that compute on the CPU.
    Registers,
    /// `linear_broadcast`: the same, a subgroup shares what its threads load; subgroups of 8 threads or more, not in browsers.
    Broadcast,
    #[cfg(test)]
    #[doc(hidden)]
    Wrong,
    #[cfg(test)]
    #[doc(hidden)]
    Invalid,
}

/// The kernels of `attention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionKernel {
    /// `shaders/attention.wgsl`: tiles in workgroup memory; takes every shape.
    Tile32,
    /// `shaders/attention_registers.wgsl`: without workgroup memory and barriers; sizes and columns are multiples of 4.
    Registers,
    /// `shaders/attention_broadcast.wgsl`: the same, a subgroup shares what its threads load; subgroups of 8 threads or more, not in browsers.
    Broadcast,
    #[cfg(test)]
    #[doc(hidden)]
    Wrong,
}

/// What a measurement found, to be kept for the next time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// Adapter, driver, precision and version of this crate: for another key it says nothing.
    pub key: String,
    /// For products of few tiles.
    pub few: LinearKernel,
    /// For products of many tiles.
    pub many: LinearKernel,
}

/// Tiles of 128 × 128 from which a product counts as one of many: fewer leave most of a large GPU without work.
const MANY_TILES: usize = 64;

/// What an open device uses, where the shape allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    few: LinearKernel,
    many: LinearKernel,
    pub(super) attention: AttentionKernel,
}

impl Choice {
    /// What is known to be best without a measurement. A software adapter keeps workgroup memory in ordinary memory, and a barrier cuts a
    /// shader into coroutines there.
    pub(super) fn default_of(info: &GpuInfo, options: &GpuOptions) -> Self {
        let (software, software_attention) = if info.subgroup_size >= 8 {
            (LinearKernel::Broadcast, AttentionKernel::Broadcast)
        } else {
            (LinearKernel::Registers, AttentionKernel::Registers)
        };
        let (few, many) = match info.software {
            true => (software, software),
            false if options.precision == Precision::F16 && info.f16_arithmetic => (LinearKernel::Tile64, LinearKernel::F16),
            false => (LinearKernel::Tile64, LinearKernel::Tile128),
        };
        let attention = if info.software {
            software_attention
        } else {
            AttentionKernel::Tile32
        };
        Self {
            few: options.linear.unwrap_or(few),
            many: options.linear.unwrap_or(many),
            attention: options.attention.unwrap_or(attention),
        }
    }

    /// The kernel for a product of this shape.
    pub(super) fn linear(&self, n_rows: usize, n_out: usize) -> LinearKernel {
        if n_rows.div_ceil(128) * n_out.div_ceil(128) < MANY_TILES {
            self.few
        } else {
            self.many
        }
    }
}

/// What a [`Tuning`] is for.
pub(super) fn key(info: &GpuInfo, precision: Precision) -> String {
    format!(
        "{} | {} | {} | {precision:?} | {}",
        info.adapter,
        info.backend,
        info.driver,
        env!("CARGO_PKG_VERSION")
    )
}

impl Gpu {
    /// Settles which kernels are used: the tuning that was given, or a measurement where `measure`, or the table; and of these only what
    /// gives the right answer to a small product, or attention. `candidates` are what is measured.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Memory`]. Whatever else goes wrong is a kernel's own and only rules that kernel out.
    pub(super) async fn settle_choice(
        &mut self,
        tuning: Option<Tuning>,
        candidates: &[LinearKernel],
        measure: bool,
    ) -> Result<()> {
        let key = key(&self.opened.info, self.precision);
        if let Some(tuning) = tuning.filter(|tuning| tuning.key == key) {
            (self.choice.few, self.choice.many) = (tuning.few, tuning.many);
            self.tuning = Some(tuning);
        } else if measure {
            let mut right = Vec::new();
            for &kernel in candidates {
                if self.is_right(kernel).await? {
                    right.push(kernel);
                }
            }
            let [few, many] = self.fastest(&right)?;
            if let (Some(few), Some(many)) = (few, many) {
                (self.choice.few, self.choice.many) = (few, many);
                self.tuning = Some(Tuning { key, few, many });
            }
        }
        if !self.is_right(self.choice.few).await? {
            self.choice.few = LinearKernel::Any;
            self.tuning = None;
        }
        if self.choice.many != self.choice.few && !self.is_right(self.choice.many).await? {
            self.choice.many = self.choice.few;
            self.tuning = None;
        }
        if self.choice.attention != AttentionKernel::Tile32 {
            match self.small_attention().await {
                Ok(error) if error <= 1e-4 => {}
                Err(e @ (Error::DeviceLost { .. } | Error::Memory { .. })) => return Err(e),
                Ok(_) | Err(_) => self.choice.attention = AttentionKernel::Tile32,
            }
        }
        Ok(())
    }

    /// What the measurement found, or was given: worth keeping for the next [`Gpu::open`].
    #[must_use]
    pub const fn tuning(&self) -> Option<&Tuning> {
        self.tuning.as_ref()
    }

    /// The kernel of `attention` in use.
    #[must_use]
    pub const fn attention_kernel(&self) -> AttentionKernel {
        self.choice.attention
    }

    /// The kernels of `linear` in use: for products of few tiles, and of many.
    #[must_use]
    pub const fn linear_kernels(&self) -> [LinearKernel; 2] {
        [self.choice.few, self.choice.many]
    }

    /// Whether a kernel gives the right answer to a product of a shape that fits no tile, over some rows of a weight.
    async fn is_right(&mut self, kernel: LinearKernel) -> Result<bool> {
        let before = self.choice;
        self.choice = before.with_linear(kernel);
        let answer = self.small_product().await;
        self.choice = before;
        match answer {
            Ok(error) => {
                // Sums in f16 of up to 16 terms, weights kept as f16, f32 throughout: each several times what rounding does to it.
                let most = match (kernel, self.half) {
                    (LinearKernel::F16, true) => 2e-2,
                    (_, true) => 3e-3,
                    (_, false) => 1e-4,
                };
                Ok(error <= most)
            }
            Err(e @ (Error::DeviceLost { .. } | Error::Memory { .. })) => Err(e),
            Err(_) => Ok(false),
        }
    }

    /// The largest error of a small product, relative to the root mean square of the answer.
    async fn small_product(&self) -> Result<f64> {
        const SHAPE: [usize; 3] = [137, 150, 52];
        const FIRST: usize = 3;
        let [n_rows, n_weight_rows, n_in] = SHAPE;
        let x: Vec<f32> = (0..n_rows * n_in).map(|i| number(i, 7)).collect();
        let numbers: Vec<f32> = (0..n_weight_rows * n_in).map(|i| number(i, 11)).collect();
        let weight = self.matrix(n_weight_rows, n_in, &mut |rows, out| {
            out.copy_from_slice(&numbers[rows.start * n_in..rows.end * n_in]);
            Ok(())
        })?;
        let tensor = self.tensor(n_rows, n_in)?;
        self.write(&tensor.buffer, 0, bytemuck::cast_slice(&x));
        self.poison(n_rows, n_weight_rows - FIRST)?;
        let out = self.linear(&tensor, &weight, FIRST..n_weight_rows, crate::backend::Epilogue::None)?;
        let got = self.download(&out).await?;
        Ok(relative_error(&got, |i| {
            let (row, col) = (i / (n_weight_rows - FIRST), i % (n_weight_rows - FIRST) + FIRST);
            let pairs = x[row * n_in..][..n_in].iter().zip(&numbers[col * n_in..][..n_in]);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        }))
    }

    /// Leaves NaN in the memory that the next tensor of this shape gets: a kernel that writes nothing must not find an earlier one's answer.
    fn poison(&self, n_rows: usize, n_cols: usize) -> Result<()> {
        let tensor = self.tensor(n_rows, n_cols)?;
        self.write(&tensor.buffer, 0, bytemuck::cast_slice(&vec![f32::NAN; n_rows * n_cols]));
        Ok(())
    }

    /// The same of the attention of one cell with unattended rows, in heads whose size fits no tile.
    async fn small_attention(&self) -> Result<f64> {
        const N_ROWS: usize = 45;
        const N_KEYS: usize = 37;
        const N_HEADS: usize = 3;
        const SIZE: usize = 12;
        const WIDTH: usize = N_HEADS * SIZE;
        let numbers: Vec<f32> = (0..N_ROWS * 3 * WIDTH).map(|i| 4.0 * number(i, 7)).collect();
        let qkv = self.tensor(N_ROWS, 3 * WIDTH)?;
        self.write(&qkv.buffer, 0, bytemuck::cast_slice(&numbers));
        let batch = self.batch(&PackedRows {
            cells: vec![CellRows {
                first_row: 0,
                n_rows: N_ROWS,
                n_keys: N_KEYS,
            }],
            gene_ids: vec![0; N_ROWS],
            values: vec![0.0; N_ROWS],
            masked: vec![0; N_ROWS],
            positions: vec![0; N_ROWS],
        })?;
        let part = |first| Columns { tensor: &qkv, first };
        self.poison(N_ROWS, WIDTH)?;
        let out = self.attention(part(0), part(WIDTH), part(2 * WIDTH), &batch, Queries::AllRows, N_HEADS, SIZE)?;
        let got = self.download(&out).await?;
        let at = |row: usize, col: usize| f64::from(numbers[row * 3 * WIDTH + col]);
        Ok(relative_error(&got, |i| {
            let (row, col) = (i / WIDTH, i % WIDTH);
            let head = col / SIZE * SIZE;
            let (mut sum, mut total) = (0.0, 0.0);
            for key in 0..N_KEYS {
                let score: f64 = (head..head + SIZE).map(|c| at(row, c) * at(key, WIDTH + c)).sum();
                // Scores are at most 12 · 4 / √12, far from an overflow.
                let weight = (score / 12.0_f64.sqrt()).exp();
                sum += weight * at(key, 2 * WIDTH + col);
                total += weight;
            }
            sum / total
        }))
    }

    /// The fastest of the kernels for few rows and for many; none where nothing was measured.
    #[cfg(not(target_arch = "wasm32"))]
    fn fastest(&mut self, kernels: &[LinearKernel]) -> Result<[Option<LinearKernel>; 2]> {
        // A short cell, and a batch.
        const ROWS: [usize; 2] = [129, 4096];
        const N: usize = 3;
        if !self.opened.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok([None; 2]);
        }
        // The widths of the released model's largest product.
        let (n_in, n_out) = (512, 1536);
        let weight = super::Weight {
            n_rows: n_out,
            n_cols: n_in,
            half: self.half,
            slices: vec![super::Slice {
                rows: 0..n_out,
                buffer: self.exact_buffer(n_out * n_in * if self.half { 2 } else { 4 }),
            }],
        };
        let before = self.choice;
        let mut found = [None; 2];
        for (found, n_rows) in found.iter_mut().zip(ROWS) {
            let mut best = f64::INFINITY;
            let x = self.tensor(n_rows, n_in)?;
            for &kernel in kernels {
                self.choice = before.with_linear(kernel);
                // Compiled before it is timed.
                for n in [1, N] {
                    let timed = n == N && self.start_timer();
                    for _ in 0..n {
                        drop::<super::Tensor>(self.linear(&x, &weight, 0..n_out, crate::backend::Epilogue::None)?);
                    }
                    let seconds: f64 = self.stop_timer().values().map(|time| time.seconds).sum();
                    if timed && seconds > 0.0 && seconds < best {
                        (best, *found) = (seconds, Some(kernel));
                    }
                }
            }
        }
        self.choice = before;
        Ok(found)
    }

    /// Browsers round their clocks, so nothing is measured there.
    #[cfg(target_arch = "wasm32")]
    fn fastest(&mut self, _: &[LinearKernel]) -> Result<[Option<LinearKernel>; 2]> {
        Ok([None; 2])
    }
}

impl Choice {
    const fn with_linear(self, kernel: LinearKernel) -> Self {
        Self {
            few: kernel,
            many: kernel,
            ..self
        }
    }
}

/// The largest error, relative to the root mean square of what is wanted.
#[expect(clippy::cast_precision_loss, reason = "a few thousand numbers")]
fn relative_error(got: &[f32], wanted: impl Fn(usize) -> f64) -> f64 {
    let (mut worst, mut squares) = (0.0_f64, 0.0);
    for (i, got) in got.iter().enumerate() {
        let wanted = wanted(i);
        if !got.is_finite() {
            return f64::INFINITY;
        }
        worst = worst.max((f64::from(*got) - wanted).abs());
        squares += wanted * wanted;
    }
    worst / (squares / got.len() as f64).sqrt()
}

/// A fixed series of numbers from −0.5 to 0.5.
#[expect(clippy::cast_precision_loss, reason = "small integers")]
fn number(i: usize, step: usize) -> f32 {
    ((i * step * 7919 + step) % 1009) as f32 / 1008.0 - 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Gpu {
        pollster::block_on(Gpu::open(GpuOptions::default())).expect("an adapter")
    }

    fn settle(gpu: &mut Gpu, tuning: Option<Tuning>, candidates: &[LinearKernel], measure: bool) {
        pollster::block_on(gpu.settle_choice(tuning, candidates, measure)).expect("a device that lives");
    }

    #[test]
    fn a_kernel_that_is_wrong_or_does_not_compile_is_never_used() {
        let mut gpu = open();
        for bad in [LinearKernel::Wrong, LinearKernel::Invalid] {
            // Not from the table,
            gpu.choice = gpu.choice.with_linear(bad);
            settle(&mut gpu, None, &[], false);
            assert_eq!(gpu.choice.linear(1, 1), LinearKernel::Any);
            assert_eq!(gpu.choice.linear(9999, 9999), LinearKernel::Any);
            // not from a file,
            let tuning = Tuning {
                key: key(gpu.info(), gpu.precision),
                few: LinearKernel::Any,
                many: bad,
            };
            settle(&mut gpu, Some(tuning), &[], false);
            assert_eq!(gpu.choice.linear(9999, 9999), LinearKernel::Any);
            assert_eq!(gpu.tuning(), None);
            // and not from a measurement.
            settle(&mut gpu, None, &[bad, LinearKernel::Registers], true);
            assert_eq!(gpu.choice.linear(1, 1), LinearKernel::Registers);
            assert_eq!(gpu.choice.linear(9999, 9999), LinearKernel::Registers);
            assert!(gpu.tuning().is_some());
        }
    }

    #[test]
    fn attention_that_is_wrong_is_not_used() {
        let mut gpu = open();
        assert_ne!(
            gpu.attention_kernel(),
            AttentionKernel::Tile32,
            "a software adapter has its own"
        );
        gpu.choice.attention = AttentionKernel::Wrong;
        settle(&mut gpu, None, &[], false);
        assert_eq!(gpu.attention_kernel(), AttentionKernel::Tile32);
    }

    #[test]
    fn a_tuning_is_used_for_its_key_alone() {
        let mut gpu = open();
        let before = gpu.choice;
        let mut tuning = Tuning {
            key: "another adapter".to_owned(),
            few: LinearKernel::Any,
            many: LinearKernel::Tile64,
        };
        settle(&mut gpu, Some(tuning.clone()), &[], false);
        assert_eq!((gpu.choice, gpu.tuning()), (before, None));
        tuning.key = key(gpu.info(), gpu.precision);
        settle(&mut gpu, Some(tuning.clone()), &[], false);
        assert_eq!(gpu.choice.linear(1, 512), LinearKernel::Any);
        assert_eq!(gpu.choice.linear(4096, 512), LinearKernel::Tile64);
        assert_eq!(gpu.tuning(), Some(&tuning));
    }
}
