//! Which kernel computes an operation, by adapter and shape: a table, then a short measurement. Nothing is used that does not compute right.

use super::Gpu;
use super::device::{GpuInfo, GpuOptions, Precision};
use super::kernels::attention::TILE_64_MEMORY;
use super::pool::lock;
use crate::backend::{Backend, CellRows, Columns, PackedRows, Queries};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The kernels of `linear` and `linear_add`, by what they are in `shaders/`. All but the first want a number of terms that is a multiple of 4,
/// and leave other products to it; weights kept as f16 always have that, and where columns are no multiple of 8 matrix units leave them to `linear_64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearKernel {
    /// `linear`: tiles of 64 × 64 in workgroup memory, any shape.
    Any,
    /// `linear_32`: tiles of 32 × 32 whose terms several threads share, for few rows; four numbers at a time. Not in browsers.
    Tile32,
    /// `linear_64`: tiles of 64 × 64, four numbers at a time.
    Tile64,
    /// `linear_128`: tiles of 128 × 64, for many rows.
    Tile128,
    /// `linear_f16`: the same with products in f16, for [`Precision::F16`] where the adapter has that arithmetic.
    F16,
    /// `linear_matrix`: with products in f16 by matrix units, for [`Precision::F16`] where the adapter has them and wgpu offers them.
    Matrix,
    /// `linear_matrix` in smaller tiles, for few rows.
    MatrixSmall,
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

impl LinearKernel {
    /// Whether terms are rounded to f16, where weights are kept so.
    const fn rounds_factors(self) -> bool {
        matches!(self, Self::F16 | Self::Matrix | Self::MatrixSmall)
    }
}

/// The kernels of `attention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionKernel {
    /// `attention`: tiles of 32 queries in workgroup memory; takes every shape.
    Tile32,
    /// `attention_64`: tiles of 64 queries, in twice the workgroup memory; heads of up to 64 columns, sizes and columns are multiples of 4.
    Tile64,
    /// `attention_matrix`: with products in f16 by matrix units, for [`Precision::F16`]; heads of 64 columns. Others are left to `attention_64`.
    Matrix,
    /// `attention_registers`: without workgroup memory and barriers; sizes and columns are multiples of 4.
    Registers,
    /// `attention_broadcast`: the same, a subgroup shares what its threads load; subgroups of 8 threads or more, not in browsers.
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
    /// For products of few tiles, of some, and of many.
    pub linear: [LinearKernel; 3],
    /// For attention.
    pub attention: AttentionKernel,
    /// Floating-point operations a second, in products of many tiles: work is submitted by the tenth of a second.
    pub flops: u64,
}

/// Tiles of 128 × 128 up to which a product counts as one of few, and of some: a large GPU has a hundred or two at once.
const FEW_TILES: usize = 64;
const SOME_TILES: usize = 256;

/// What an open device uses, where the shape allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// For products of few tiles, of some, and of many.
    linear: [LinearKernel; 3],
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
        let attention = match info.software {
            true => software_attention,
            false if info.workgroup_memory >= TILE_64_MEMORY => AttentionKernel::Tile64,
            false => AttentionKernel::Tile32,
        };
        Self {
            linear: options.linear.map_or([few, many, many], |kernel| [kernel; 3]),
            attention: options.attention.unwrap_or(attention),
        }
    }

    /// What was found to be best.
    fn with(self, tuning: &Tuning) -> Self {
        Self {
            linear: tuning.linear,
            attention: tuning.attention,
        }
    }

    pub(super) const fn with_linear(self, kernel: LinearKernel) -> Self {
        Self {
            linear: [kernel; 3],
            ..self
        }
    }

    /// The kernel for a product of this shape.
    pub(super) fn linear(&self, n_rows: usize, n_out: usize) -> LinearKernel {
        match n_rows.div_ceil(128) * n_out.div_ceil(128) {
            0..=FEW_TILES => self.linear[0],
            n if n <= SOME_TILES => self.linear[1],
            _ => self.linear[2],
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
    /// Settles which kernels are used: those that were found quickest, or those of the table; and of these only what gives the right answer to
    /// small products, and attention.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Memory`]. Whatever else goes wrong is a kernel's own and only rules that kernel out.
    pub(super) async fn settle_choice(&mut self, tuning: Option<Tuning>) -> Result<()> {
        if let Some(tuning) = &tuning {
            self.choice = self.choice.with(tuning);
        }
        let chosen = self.choice;
        // In place of one that is wrong comes that for fewer tiles.
        let mut other = LinearKernel::Any;
        for i in 0..chosen.linear.len() {
            let kernel = chosen.linear[i];
            if kernel != other && !self.is_right(kernel, true).await? {
                self.choice.linear[i] = other;
            }
            other = self.choice.linear[i];
        }
        if self.choice.attention != AttentionKernel::Tile32 && !self.attends_right(self.choice.attention).await? {
            self.choice.attention = AttentionKernel::Tile32;
        }
        // What turned out to be wrong is not kept, and its speed is nobody's.
        self.tuning = tuning.filter(|_| self.choice == chosen);
        if let Some(tuning) = &self.tuning {
            lock(&self.recorder).expect_speed(tuning.flops);
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

    /// The kernels of `linear` in use: for products of few tiles, of some, and of many.
    #[must_use]
    pub const fn linear_kernels(&self) -> [LinearKernel; 3] {
        self.choice.linear
    }

    /// Uses these kernels of `linear`: so that each of those that were chosen can prove itself on whatever is small.
    pub const fn set_linear_kernels(&mut self, kernels: [LinearKernel; 3]) {
        self.choice.linear = kernels;
    }

    /// Whether a kernel, and what it leaves shapes and weights to that it does not take, gives the right answer to products of shapes that fit no
    /// tile, over some rows of a weight; where not `fully`, to the first of them.
    pub(super) async fn is_right(&mut self, kernel: LinearKernel, fully: bool) -> Result<bool> {
        // Matrix units write eight columns at a time.
        let n_outs: &[usize] = match kernel {
            LinearKernel::Matrix | LinearKernel::MatrixSmall => &[152, 147],
            _ => &[147],
        };
        // Not every weight is kept as f16.
        let halves: &[bool] = if self.half { &[true, false] } else { &[false] };
        let before = self.choice;
        self.choice = before.with_linear(kernel);
        let mut answers = Ok(true);
        for (&half, &n_out) in halves.iter().flat_map(|half| n_outs.iter().map(move |n_out| (half, n_out))) {
            // Sums in f16 of up to 16 terms, factors as f16, f32 throughout: each several times what rounding does to it.
            let most = match (kernel, half) {
                (LinearKernel::F16, true) => 2e-2,
                (_, true) => 3e-3,
                (_, false) => 1e-4,
            };
            let is_right = match self.small_product(n_out, half).await {
                Ok(error) if error <= most && half && kernel.rounds_factors() && n_out == n_outs[0] => {
                    self.shows_overflow(n_out).await
                }
                other => other.map(|error| error <= most),
            };
            answers = match is_right {
                Err(e) if !matches!(e, Error::DeviceLost { .. } | Error::Memory { .. }) => Ok(false),
                other => other,
            };
            if !fully || !matches!(answers, Ok(true)) {
                break;
            }
        }
        self.choice = before;
        answers
    }

    /// Whether terms that are too large for f16 end in what is no number. Vulkan lets a driver make the largest f16 of them.
    async fn shows_overflow(&self, n_cols: usize) -> Result<bool> {
        const N_IN: usize = 16;
        let weight = self.load(n_cols, N_IN, true, &mut |_, out| {
            out.fill(1.0);
            Ok(())
        })?;
        let tensor = self.tensor(1, N_IN)?;
        self.write(&tensor.buffer, 0, bytemuck::cast_slice(&[1e5_f32; N_IN]));
        let out = self.linear(&tensor, &weight, 0..n_cols, crate::backend::Epilogue::None)?;
        Ok(self.download(&out).await?.iter().all(|x| !x.is_finite()))
    }

    /// The largest error of a small product, relative to the root mean square of the answer.
    async fn small_product(&self, n_out: usize, half: bool) -> Result<f64> {
        const FIRST: usize = 3;
        // Several tiles of terms in every kernel.
        let (n_rows, n_weight_rows, n_in) = (137, FIRST + n_out, 148);
        let x: Vec<f32> = (0..n_rows * n_in).map(|i| number(i, 7)).collect();
        let numbers: Vec<f32> = (0..n_weight_rows * n_in).map(|i| number(i, 11)).collect();
        let weight = self.load(n_weight_rows, n_in, half, &mut |rows, out| {
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

    /// Whether a kernel gives the right answer to the attention of a small cell, in heads that it takes.
    pub(super) async fn attends_right(&mut self, kernel: AttentionKernel) -> Result<bool> {
        // Heads of 12 fill no tile; matrix units take 64 only, and leave others to `attention_64`.
        // Scores of numbers up to 5 grow by so much from tile to tile that what was summed up has to shrink.
        let checks: &[(usize, f32, f64)] = match kernel {
            AttentionKernel::Matrix => &[(64, 4.0, 3e-3), (64, 10.0, 3e-2), (12, 4.0, 1e-4)],
            AttentionKernel::Tile64 => &[(64, 4.0, 1e-4), (12, 4.0, 1e-4)],
            _ => &[(12, 4.0, 1e-4)],
        };
        let before = std::mem::replace(&mut self.choice.attention, kernel);
        let mut is_right = true;
        for &(size, factor, most) in checks {
            let mut answer = self.small_attention(size, factor).await;
            // As with products: 4e6 is no f16, and has to end in what is no number.
            if matches!(answer, Ok(error) if error <= most) && kernel == AttentionKernel::Matrix && size == 64 {
                answer = self
                    .small_attention(size, 4e6)
                    .await
                    .map(|error| if error.is_finite() { error } else { 0.0 });
            }
            match answer {
                Ok(error) if error <= most => {}
                Err(e @ (Error::DeviceLost { .. } | Error::Memory { .. })) => {
                    self.choice.attention = before;
                    return Err(e);
                }
                Ok(_) | Err(_) => is_right = false,
            }
        }
        self.choice.attention = before;
        Ok(is_right)
    }

    /// The largest error of the attention of one cell with unattended rows, relative to the root mean square of the answer.
    #[expect(clippy::cast_precision_loss, reason = "a head size is small")]
    async fn small_attention(&self, size: usize, factor: f32) -> Result<f64> {
        const N_ROWS: usize = 77;
        const N_KEYS: usize = 69;
        const N_HEADS: usize = 3;
        let width = N_HEADS * size;
        let numbers: Vec<f32> = (0..N_ROWS * 3 * width).map(|i| factor * number(i, 7)).collect();
        let qkv = self.tensor(N_ROWS, 3 * width)?;
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
        self.poison(N_ROWS, width)?;
        let out = self.attention(part(0), part(width), part(2 * width), &batch, Queries::AllRows, N_HEADS, size)?;
        let got = self.download(&out).await?;
        let at = |row: usize, col: usize| f64::from(numbers[row * 3 * width + col]);
        Ok(relative_error(&got, |i| {
            let (row, col) = (i / width, i % width);
            let head = col / size * size;
            let (mut sum, mut total) = (0.0, 0.0);
            for key in 0..N_KEYS {
                let score: f64 = (head..head + size).map(|c| at(row, c) * at(key, width + c)).sum();
                // Numbers are up to half of the factor: scores are at most 8 · 25, far from an overflow.
                let weight = (score / (size as f64).sqrt()).exp();
                sum += weight * at(key, 2 * width + col);
                total += weight;
            }
            sum / total
        }))
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
    use crate::gpu::measure::Candidates;

    fn open() -> Gpu {
        pollster::block_on(Gpu::open(GpuOptions::default())).expect("an adapter")
    }

    #[test]
    fn a_table_stands_where_nothing_is_measured() {
        use AttentionKernel as A;
        use LinearKernel as L;
        let mut info = open().info().clone();
        for (software, subgroup_size, f16, memory, precision, linear, attention) in [
            (true, 8, true, 32, Precision::F32, [L::Broadcast, L::Broadcast], A::Broadcast),
            (true, 4, true, 32, Precision::F16, [L::Registers, L::Registers], A::Registers),
            (false, 32, true, 48, Precision::F32, [L::Tile64, L::Tile128], A::Tile64),
            (false, 32, true, 48, Precision::F16, [L::Tile64, L::F16], A::Tile64),
            (false, 0, false, 16, Precision::F16, [L::Tile64, L::Tile128], A::Tile32),
        ] {
            (info.software, info.subgroup_size, info.f16_arithmetic) = (software, subgroup_size, f16);
            info.workgroup_memory = memory << 10;
            let options = GpuOptions {
                precision,
                ..GpuOptions::default()
            };
            let choice = Choice::default_of(&info, &options);
            assert_eq!(
                (choice.linear, choice.attention),
                ([linear[0], linear[1], linear[1]], attention)
            );
            // And what is measured, where that can be, is what the adapter can run.
            let candidates = Candidates::of(&info);
            assert_eq!(candidates.attention.contains(&A::Tile64), memory >= 32);
            assert_eq!(candidates.linear.contains(&L::F16), f16);
            assert!(!candidates.linear.contains(&L::Matrix) && !candidates.attention.contains(&A::Matrix));
            info.matrix_side = 16;
            let candidates = Candidates::of(&info);
            assert!(candidates.linear.contains(&L::Matrix) && candidates.attention.contains(&A::Matrix));
            info.matrix_side = 0;
        }
    }

    fn settle(gpu: &mut Gpu, tuning: Option<Tuning>) {
        pollster::block_on(gpu.settle_choice(tuning)).expect("a device that lives");
    }

    fn tuning(key: String, few: LinearKernel, many: LinearKernel) -> Tuning {
        Tuning {
            key,
            linear: [few, few, many],
            attention: AttentionKernel::Tile32,
            flops: 1,
        }
    }

    #[test]
    fn a_kernel_that_is_wrong_or_does_not_compile_is_never_used() {
        let mut gpu = open();
        for bad in [LinearKernel::Wrong, LinearKernel::Invalid] {
            // Not from the table,
            gpu.choice = gpu.choice.with_linear(bad);
            settle(&mut gpu, None);
            assert_eq!(gpu.choice.linear(1, 1), LinearKernel::Any);
            assert_eq!(gpu.choice.linear(9999, 9999), LinearKernel::Any);
            // not from a file,
            let tuning = tuning(key(gpu.info(), gpu.precision), LinearKernel::Any, bad);
            settle(&mut gpu, Some(tuning));
            assert_eq!(gpu.choice.linear(9999, 9999), LinearKernel::Any);
            assert_eq!(gpu.tuning(), None);
            // and not from a measurement.
            let candidates = Candidates {
                linear: vec![bad, LinearKernel::Registers],
                attention: vec![AttentionKernel::Wrong, AttentionKernel::Registers],
            };
            let key = key(gpu.info(), gpu.precision);
            let tuning = pollster::block_on(gpu.measured(key, &candidates)).expect("a device that lives");
            settle(&mut gpu, tuning);
            assert_eq!(gpu.attention_kernel(), AttentionKernel::Registers);
            assert_eq!(gpu.choice.linear(1, 1), LinearKernel::Registers);
            assert_eq!(gpu.choice.linear(9999, 9999), LinearKernel::Registers);
            assert!(gpu.tuning().is_some());
        }
    }

    #[test]
    fn a_kernel_that_is_wrong_gives_way_to_that_for_fewer_tiles() {
        use LinearKernel::{Any, Registers, Tile64, Tile128, Wrong};
        // 24, 128 and 512 tiles of 128 × 128.
        let shapes = [(129, 1536), (1024, 2048), (4096, 2048)];
        let mut gpu = open();
        for (chosen, used) in [
            ([Registers, Tile64, Tile128], [Registers, Tile64, Tile128]),
            ([Registers, Wrong, Tile128], [Registers, Registers, Tile128]),
            ([Registers, Tile64, Wrong], [Registers, Tile64, Tile64]),
            ([Wrong, Wrong, Tile128], [Any, Any, Tile128]),
            ([Registers, Wrong, Wrong], [Registers, Registers, Registers]),
        ] {
            gpu.choice.linear = chosen;
            settle(&mut gpu, None);
            assert_eq!(
                shapes.map(|(n_rows, n_out)| gpu.choice.linear(n_rows, n_out)),
                used,
                "{chosen:?}"
            );
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
        settle(&mut gpu, None);
        assert_eq!(gpu.attention_kernel(), AttentionKernel::Tile32);
    }

    #[test]
    fn a_tuning_is_used_for_its_key_alone() {
        let with = |tuning: &Tuning| {
            let options = GpuOptions {
                tunings: vec![
                    self::tuning("one more".to_owned(), LinearKernel::Any, LinearKernel::Any),
                    tuning.clone(),
                ],
                ..GpuOptions::default()
            };
            pollster::block_on(Gpu::open(options)).expect("an adapter")
        };
        let without = open();
        let mut tuning = tuning("another adapter".to_owned(), LinearKernel::Any, LinearKernel::Tile64);
        let gpu = with(&tuning);
        assert_eq!((gpu.choice, gpu.tuning()), (without.choice, without.tuning()));
        tuning.key = key(gpu.info(), gpu.precision);
        let gpu = with(&tuning);
        assert_eq!(gpu.choice.linear(1, 512), LinearKernel::Any);
        assert_eq!(gpu.choice.linear(9999, 512), LinearKernel::Tile64);
        assert_eq!(gpu.attention_kernel(), AttentionKernel::Tile32);
        assert_eq!(gpu.tuning(), Some(&tuning));
    }
}
