//! Matrix product with an epilogue: `shaders/linear*.wgsl`, which share `shaders/parts/linear.wgsl`.

use crate::backend::{Epilogue, Matrix};
use crate::error::Result;
use crate::gpu::choose::LinearKernel;
use crate::gpu::device::GpuInfo;
use crate::gpu::kernel::{Access, Feature, Kernel, count, params, wgsl};
use crate::gpu::kernels::PRODUCTS;
use crate::gpu::pool::Buffer;
use crate::gpu::{Gpu, Tensor, Weight};
use std::ops::Range;

params! { n_rows: u32, n_in: u32, n_out: u32, first_weight_row: u32, out_first_col: u32, out_n_cols: u32, rope_n_cols: u32, head_size: u32 }

/// A kernel of `linear`, and the rows and columns of out that one workgroup gives.
pub(crate) struct Variant {
    pub(crate) kernel: Kernel,
    pub(crate) tile: [usize; 2],
}

macro_rules! variant {
    ($name:literal, $tile:expr, $needs:expr $(, $part:expr)*) => {
        Variant {
            kernel: Kernel {
                name: $name,
                source: &[$($part,)* wgsl!("parts/linear.wgsl"), wgsl!("parts/relu.wgsl")],
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
            },
            tile: $tile,
        }
    };
}

const F32: &str = wgsl!("parts/weight_f32.wgsl");
const F16: &str = wgsl!("parts/weight_f16.wgsl");
const SQUARES: &str = wgsl!("parts/squares.wgsl");
const FINISH: &str = wgsl!("parts/finish.wgsl");
#[cfg(not(target_arch = "wasm32"))]
const TILE_32: &str = wgsl!("linear_32.wgsl");
const TILE_64: &str = wgsl!("linear_64.wgsl");
const TILE_128: &str = wgsl!("linear_128.wgsl");
const ROWS: &str = wgsl!("parts/clamped_rows.wgsl");
const REGISTERS: &str = wgsl!("linear_registers.wgsl");
#[cfg(not(target_arch = "wasm32"))]
const BROADCAST: &str = wgsl!("linear_broadcast.wgsl");

/// Takes every number of terms; weights are f32.
static ANY: Variant = variant!("linear", [64, 64], &[], wgsl!("linear.wgsl"), FINISH);

/// A kernel of `linear` by matrix units, with squares and threads as in `$matrix` and tiles as in `$tiles`.
#[cfg(not(target_arch = "wasm32"))]
macro_rules! matrix_variant {
    ($name:literal, $tile:expr, $bytes:literal, $matrix:literal, $tiles:literal) => {
        &variant!(
            $name,
            $tile,
            &[
                Feature::Matrix,
                Feature::F16,
                Feature::Subgroups,
                Feature::WorkgroupMemory($bytes)
            ],
            wgsl!($matrix),
            wgsl!($tiles),
            wgsl!("linear_matrix.wgsl"),
            wgsl!("parts/finish_8.wgsl")
        )
    };
}

/// All kernels; the number of terms is a multiple of 4 in all but the first. Pairs: weights as f32, weights as f16.
pub(crate) static VARIANTS: &[&Variant] = &[
    &ANY,
    #[cfg(not(target_arch = "wasm32"))]
    &variant!("linear_32", [32, 32], &[], TILE_32, SQUARES, F32, FINISH),
    #[cfg(not(target_arch = "wasm32"))]
    &variant!("linear_32.f16", [32, 32], &[], TILE_32, SQUARES, F16, FINISH),
    &variant!("linear_64", [64, 64], &[], TILE_64, SQUARES, F32, FINISH),
    &variant!("linear_64.f16", [64, 64], &[], TILE_64, SQUARES, F16, FINISH),
    &variant!("linear_128", [128, 64], &[], TILE_128, SQUARES, F32, FINISH),
    &variant!("linear_128.f16", [128, 64], &[], TILE_128, SQUARES, F16, FINISH),
    &variant!("linear_registers", [8, 128], &[], REGISTERS, ROWS, PRODUCTS, F32, FINISH),
    &variant!("linear_registers.f16", [8, 128], &[], REGISTERS, ROWS, PRODUCTS, F16, FINISH),
    &variant!(
        "linear_f16",
        [128, 64],
        &[Feature::F16],
        wgsl!("linear_f16.wgsl"),
        SQUARES,
        F16,
        FINISH
    ),
    #[cfg(not(target_arch = "wasm32"))]
    &variant!(
        "linear_broadcast",
        [24, 64],
        &[Feature::Subgroups],
        BROADCAST,
        ROWS,
        PRODUCTS,
        F32,
        FINISH
    ),
    #[cfg(not(target_arch = "wasm32"))]
    &variant!(
        "linear_broadcast.f16",
        [24, 64],
        &[Feature::Subgroups],
        BROADCAST,
        ROWS,
        PRODUCTS,
        F16,
        FINISH
    ),
    #[cfg(not(target_arch = "wasm32"))]
    matrix_variant!(
        "linear_matrix.16",
        [128, 128],
        40_960,
        "parts/matrix_16.wgsl",
        "parts/matrix_tile_large.wgsl"
    ),
    #[cfg(not(target_arch = "wasm32"))]
    matrix_variant!(
        "linear_matrix.16_small",
        [64, 64],
        20_480,
        "parts/matrix_16.wgsl",
        "parts/matrix_tile_small.wgsl"
    ),
    #[cfg(not(target_arch = "wasm32"))]
    matrix_variant!(
        "linear_matrix.8",
        [64, 64],
        16_384,
        "parts/matrix_8.wgsl",
        "parts/matrix_tile_large.wgsl"
    ),
    #[cfg(not(target_arch = "wasm32"))]
    matrix_variant!(
        "linear_matrix.8_small",
        [32, 32],
        8_192,
        "parts/matrix_8.wgsl",
        "parts/matrix_tile_small.wgsl"
    ),
];

/// The kernel that is meant; weights are kept as f16 where `half`.
fn variant(kernel: LinearKernel, half: bool, info: &GpuInfo) -> &'static Variant {
    let name = match (kernel, half) {
        (LinearKernel::Any, false) => "linear",
        (LinearKernel::Tile32, false) => "linear_32",
        (LinearKernel::Tile32, true) => "linear_32.f16",
        (LinearKernel::Tile64, false) => "linear_64",
        (LinearKernel::Tile64, true) => "linear_64.f16",
        // Their weights are always f16: those kept as f32 are few, and take the next best.
        (LinearKernel::Tile128 | LinearKernel::F16 | LinearKernel::Matrix | LinearKernel::MatrixSmall, false) => "linear_128",
        (LinearKernel::Tile128, true) => "linear_128.f16",
        (LinearKernel::F16, true) => "linear_f16",
        (LinearKernel::Matrix, true) => match info.matrix_side {
            8 => "linear_matrix.8",
            _ => "linear_matrix.16",
        },
        (LinearKernel::MatrixSmall, true) => match info.matrix_side {
            8 => "linear_matrix.8_small",
            _ => "linear_matrix.16_small",
        },
        (LinearKernel::Registers, false) => "linear_registers",
        // The last resort is another kernel than those that were found wrong.
        (LinearKernel::Registers | LinearKernel::Any, true) => "linear_registers.f16",
        (LinearKernel::Broadcast, false) => "linear_broadcast",
        (LinearKernel::Broadcast, true) => "linear_broadcast.f16",
        #[cfg(test)]
        (LinearKernel::Wrong, _) => return &tests::WRONG,
        #[cfg(test)]
        (LinearKernel::Invalid, _) => return &tests::INVALID,
    };
    VARIANTS.iter().copied().find(|v| v.kernel.name == name).unwrap_or(&ANY)
}

/// The kernel for a product into `out_n_cols` columns from `out_first_col` on: the one chosen, where it takes the shape.
fn variant_for(gpu: &Gpu, params: &Params, n_tile_cols: usize, half: bool) -> &'static Variant {
    let (n_rows, n_in) = (params.n_rows as usize, params.n_in as usize);
    let eights = [params.n_out, params.out_first_col, params.out_n_cols]
        .iter()
        .all(|n| n.is_multiple_of(8));
    // Four neighbouring numbers are read at a time, and a grid has at most 65,535 tiles of rows; matrix units' kernels write eight.
    let fits = |v: &Variant| {
        let writes_eights = v.kernel.needs.contains(&Feature::Matrix);
        n_in.is_multiple_of(4) && n_rows.div_ceil(v.tile[0]) < 65_536 && (eights || !writes_eights)
    };
    let chosen = variant(gpu.choice.linear(n_rows, n_tile_cols), half, gpu.info());
    match (fits(chosen), half) {
        (true, _) => chosen,
        (false, false) => &ANY,
        (false, true) => variant(LinearKernel::Tile64, true, gpu.info()),
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
    let row_flops = 2 * x.n_rows() as u64 * x.n_cols() as u64;
    // A dispatch cannot be interrupted: on a slow adapter a large product takes several. 128 columns fill a tile of any kernel.
    let most = usize::try_from(gpu.most_flops() / row_flops.max(1)).unwrap_or(usize::MAX);
    // Nor are there more than 65,535 tiles of columns.
    let step = (most / 128 * 128).clamp(128, 65_535 * 32 / 128 * 128);
    for slice in &weight.slices {
        let rows = slice.rows.start.max(weight_rows.start)..slice.rows.end.min(weight_rows.end);
        for start in rows.clone().step_by(step) {
            let n_out = step.min(rows.end - start);
            let params = Params {
                n_rows: count(x.n_rows()),
                n_in: count(x.n_cols()),
                n_out: count(n_out),
                first_weight_row: count(start - slice.rows.start),
                out_first_col: count(start - weight_rows.start),
                out_n_cols: count(out.n_cols()),
                rope_n_cols: count(rope_n_cols),
                head_size: count(head_size),
            };
            let variant = variant_for(gpu, &params, rows.len(), weight.half);
            let [tile_rows, tile_cols] = variant.tile;
            let buffers = [&x.buffer, &slice.buffer, side, positions, &out.buffer];
            let grid = [count(n_out.div_ceil(tile_cols)), count(x.n_rows().div_ceil(tile_rows)), 1];
            let flops = row_flops * n_out as u64;
            gpu.launch(&variant.kernel, &[f64::from(mode as u32)], &params, &buffers, grid, flops)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a driver that computes wrongly would do.
    pub(super) static WRONG: Variant = variant!(
        "linear_64.wrong",
        [64, 64],
        &[],
        TILE_64,
        SQUARES,
        "@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
        fn weight4(at: u32) -> vec4<f32> { return weight[at] * vec4<f32>(1.0, 1.0, 1.0, 1.01); }",
        FINISH
    );

    /// What a compiler that does not know all of WGSL would see.
    pub(super) static INVALID: Variant = variant!(
        "linear_64.invalid",
        [64, 64],
        &[],
        TILE_64,
        SQUARES,
        "@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
        fn weight4(at: u32) -> vec4<f32> { return no_such_thing(at); }",
        FINISH
    );
}
