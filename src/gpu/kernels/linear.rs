//! Matrix product with an epilogue: `shaders/linear*.wgsl`, which share `shaders/parts/linear.wgsl`.

use crate::backend::{Epilogue, Matrix};
use crate::error::Result;
use crate::gpu::choose::LinearKernel;
use crate::gpu::kernel::{Access, Feature, Kernel, count, params};
use crate::gpu::pool::Buffer;
use crate::gpu::{Gpu, Tensor, Weight};
use std::ops::Range;

params! { n_rows: u32, n_in: u32, n_out: u32, first_weight_row: u32, out_first_col: u32, out_n_cols: u32, rope_n_cols: u32, head_size: u32 }

macro_rules! kernel {
    ($name:literal, $needs:expr) => {
        Kernel {
            name: $name,
            source: concat!(
                include_str!(concat!("../../../shaders/", $name, ".wgsl")),
                "\n",
                include_str!("../../../shaders/parts/linear.wgsl")
            ),
            needs: $needs,
            buffers: &[
                ("x", Access::Read),
                ("weight", Access::Read),
                ("side", Access::Read),
                ("positions", Access::Read),
                ("out", Access::ReadWrite),
            ],
            params: Params::MEMBERS,
            overrides: &["EPILOGUE"],
        }
    };
}

pub(crate) const TILE_64: Kernel = kernel!("linear", &[]);
pub(crate) const REGISTERS: Kernel = kernel!("linear_registers", &[]);
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const BROADCAST: Kernel = kernel!("linear_broadcast", &[Feature::Subgroups]);

/// The kernel for a product of `n_rows` rows with `n_in` terms, and the rows and columns of its tiles.
fn kernel_for(gpu: &Gpu, n_rows: usize, n_in: usize) -> (&'static Kernel, [usize; 2]) {
    let (kernel, tile): (_, [usize; 2]) = match gpu.choice.linear {
        LinearKernel::Tile64 => (&TILE_64, [64, 64]),
        LinearKernel::Registers => (&REGISTERS, [8, 128]),
        #[cfg(not(target_arch = "wasm32"))]
        LinearKernel::Broadcast => (&BROADCAST, [16, 64]),
    };
    // Four neighbouring numbers are read at a time, and a grid has at most 65,535 tiles of rows.
    if n_in.is_multiple_of(4) && n_rows.div_ceil(tile[0]) < 65_536 {
        (kernel, tile)
    } else {
        (&TILE_64, [64, 64])
    }
}

/// Values of the override `EPILOGUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    None = 0,
    Bias = 1,
    BiasRelu = 2,
    SwiGlu = 3,
    Rope = 4,
    Add = 5,
}

/// `epilogue(x Wᵀ)` over `weight_rows`.
pub(crate) fn launch(
    gpu: &Gpu,
    x: &Tensor,
    weight: &Weight,
    weight_rows: Range<usize>,
    epilogue: &Epilogue<'_, Gpu>,
) -> Result<Tensor> {
    let n_cols = match epilogue {
        Epilogue::SwiGlu => weight_rows.len() / 2,
        _ => weight_rows.len(),
    };
    let out = gpu.tensor(x.n_rows(), n_cols)?;
    // A kernel's bindings are always all bound: x stands in where an epilogue reads nothing.
    let (mode, side, positions, rope_n_cols, head_size) = match epilogue {
        Epilogue::None => (Mode::None, &x.buffer, None, 0, 2),
        Epilogue::Bias(bias) => (Mode::Bias, bias.whole()?, None, 0, 2),
        Epilogue::BiasRelu(bias) => (Mode::BiasRelu, bias.whole()?, None, 0, 2),
        Epilogue::SwiGlu => (Mode::SwiGlu, &x.buffer, None, 0, 2),
        Epilogue::Rope { table, batch, n_cols } => (Mode::Rope, table.whole()?, Some(&batch.positions), *n_cols, table.n_cols()),
    };
    run(
        gpu,
        x,
        weight,
        weight_rows,
        mode,
        side,
        positions.unwrap_or(&x.buffer),
        &out,
        rope_n_cols,
        head_size,
    )?;
    Ok(out)
}

/// `into += x Wᵀ`.
pub(crate) fn launch_add(gpu: &Gpu, x: &Tensor, weight: &Weight, into: &Tensor) -> Result<()> {
    run(
        gpu,
        x,
        weight,
        0..weight.n_rows(),
        Mode::Add,
        &x.buffer,
        &x.buffer,
        into,
        0,
        2,
    )
}

#[expect(clippy::too_many_arguments, reason = "everything that one launch needs, once")]
fn run(
    gpu: &Gpu,
    x: &Tensor,
    weight: &Weight,
    weight_rows: Range<usize>,
    mode: Mode,
    side: &Buffer,
    positions: &Buffer,
    out: &Tensor,
    rope_n_cols: usize,
    head_size: usize,
) -> Result<()> {
    let (kernel, [tile_rows, tile_cols]) = kernel_for(gpu, x.n_rows(), x.n_cols());
    for slice in &weight.slices {
        let rows = slice.rows.start.max(weight_rows.start)..slice.rows.end.min(weight_rows.end);
        if rows.is_empty() {
            continue;
        }
        let params = Params {
            n_rows: count(x.n_rows()),
            n_in: count(x.n_cols()),
            n_out: count(rows.len()),
            first_weight_row: count(rows.start - slice.rows.start),
            out_first_col: count(rows.start - weight_rows.start),
            out_n_cols: count(out.n_cols()),
            rope_n_cols: count(rope_n_cols),
            head_size: count(head_size),
        };
        let buffers = [&x.buffer, &slice.buffer, side, positions, &out.buffer];
        let grid = [
            count(rows.len().div_ceil(tile_cols)),
            count(x.n_rows().div_ceil(tile_rows)),
            1,
        ];
        let flops = 2 * x.n_rows() as u64 * rows.len() as u64 * x.n_cols() as u64;
        gpu.launch(kernel, &[f64::from(mode as u32)], &params, &buffers, grid, flops)?;
    }
    Ok(())
}
