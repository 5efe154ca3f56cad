//! Attention without a stored score matrix: `shaders/attention.wgsl`.

use crate::backend::{CellRows, Columns, Matrix, Queries};
use crate::error::Result;
use crate::gpu::choose::AttentionKernel;
use crate::gpu::kernel::{Access, Feature, Kernel, count, folded, params, wgsl};
use crate::gpu::kernels::PRODUCTS;
use crate::gpu::pool::Buffer;
use crate::gpu::{Batch, Gpu, Tensor};

params! { n_tiles: u32, n_blocks: u32, head_size: u32, scale: f32, q_first_col: u32, q_n_cols: u32, k_first_col: u32, k_n_cols: u32, v_first_col: u32, v_n_cols: u32, out_n_cols: u32, out_first_col: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "attention",
    source: &[wgsl!("attention.wgsl")],
    needs: &[],
    buffers: &[
        ("tiles", Access::Read),
        ("q", Access::Read),
        ("k", Access::Read),
        ("v", Access::Read),
        ("out", Access::ReadWrite),
    ],
    params: Params::MEMBERS,
    overrides: &["WIDE"],
};

const ROWS: &str = wgsl!("parts/attention_rows.wgsl");

/// A kernel that reads four numbers at a time.
macro_rules! in_fours {
    ($name:literal, $needs:expr, $overrides:expr $(, $part:expr)+) => {
        Kernel {
            name: $name,
            source: &[$($part,)+ wgsl!("parts/attention_fours.wgsl")],
            needs: $needs,
            buffers: KERNEL.buffers,
            // `n_heads` stands in the place of `n_blocks`.
            params: &[
                "n_tiles",
                "n_heads",
                "head_size",
                "scale",
                "q_first_col",
                "q_n_cols",
                "k_first_col",
                "k_n_cols",
                "v_first_col",
                "v_n_cols",
                "out_n_cols",
                "out_first_col",
            ],
            overrides: $overrides,
        }
    };
}

pub(crate) const REGISTERS: Kernel = in_fours!("attention_registers", &[], &[], wgsl!("attention_registers.wgsl"), PRODUCTS);
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const BROADCAST: Kernel = in_fours!(
    "attention_broadcast",
    &[Feature::Subgroups],
    &[],
    wgsl!("attention_broadcast.wgsl"),
    PRODUCTS
);
/// Bytes of workgroup memory of [`TILE_64`].
pub(crate) const TILE_64_MEMORY: u32 = 32_768;
pub(crate) const TILE_64: Kernel = in_fours!(
    "attention_64",
    &[Feature::WorkgroupMemory(TILE_64_MEMORY)],
    &["WIDE"],
    wgsl!("attention_64.wgsl"),
    ROWS
);

#[cfg(not(target_arch = "wasm32"))]
macro_rules! matrix {
    ($name:literal, $bytes:literal, $matrix:literal) => {
        in_fours!(
            $name,
            &[
                Feature::Matrix,
                Feature::F16,
                Feature::Subgroups,
                Feature::WorkgroupMemory($bytes)
            ],
            &[],
            wgsl!($matrix),
            wgsl!("attention_matrix.wgsl"),
            ROWS
        )
    };
}
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const MATRIX_16: Kernel = matrix!("attention_matrix.16", 28_688, "parts/matrix_16.wgsl");
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const MATRIX_8: Kernel = matrix!("attention_matrix.8", 18_960, "parts/matrix_8.wgsl");

/// Queries that one workgroup of most kernels serves.
const TILE: usize = 32;
/// Queries that one workgroup of [`TILE_64`] and [`MATRIX_16`] serves.
const LARGE_TILE: usize = 64;

/// Tiles of queries, on the device.
pub(crate) struct Tiles {
    buffer: Buffer,
    n: usize,
    /// Queries of a tile at the most.
    len: usize,
}

impl Tiles {
    /// Those that the kernels in use take.
    pub(crate) fn of(gpu: &Gpu, cells: &[CellRows], queries: Queries) -> Vec<Self> {
        let lens: &[usize] = match (queries, gpu.choice.attention) {
            (Queries::AllRows, AttentionKernel::Tile64 | AttentionKernel::Matrix) => &[TILE, LARGE_TILE],
            _ => &[TILE],
        };
        let of_len = |&len| {
            let tiles = tiles(cells, queries, len);
            Self {
                buffer: gpu.bytes(bytemuck::cast_slice(&tiles)),
                n: tiles.len() / 4,
                len,
            }
        };
        lens.iter().map(of_len).collect()
    }
}

/// For each tile of up to `len`: first query row, queries, first key row, keys.
fn tiles(cells: &[CellRows], queries: Queries, len: usize) -> Vec<u32> {
    let mut tiles = Vec::new();
    for (i, cell) in cells.iter().enumerate() {
        let (first, n) = match queries {
            Queries::AllRows => (cell.first_row, cell.n_rows),
            Queries::LatentRows => (i, 1),
        };
        for start in (0..n).step_by(len) {
            tiles.extend([first + start, (n - start).min(len), cell.first_row, cell.n_keys].map(count));
        }
    }
    tiles
}

/// What of the choice serves a shape.
#[derive(Clone, Copy)]
struct Served {
    kernel: &'static Kernel,
    /// Queries of a tile.
    tile: usize,
    grid: Grid,
}

/// What the workgroups of a kernel are.
#[derive(Clone, Copy)]
enum Grid {
    /// Tiles, and blocks of 64 columns of heads.
    Blocks,
    /// Tiles, and heads.
    Heads,
    /// 16 threads in a line, each with 8 queries of a head.
    Threads,
}

/// The kernel for heads of this size, with columns that are multiples of 4 or not: the one chosen, where it takes them.
fn served(gpu: &Gpu, head_size: usize, in_fours: bool) -> Served {
    let served = |kernel, tile, grid| Served { kernel, tile, grid };
    match gpu.choice.attention {
        AttentionKernel::Registers if in_fours => served(&REGISTERS, TILE, Grid::Threads),
        #[cfg(not(target_arch = "wasm32"))]
        AttentionKernel::Broadcast if in_fours => served(&BROADCAST, TILE, Grid::Heads),
        #[cfg(not(target_arch = "wasm32"))]
        AttentionKernel::Matrix if in_fours && head_size == 64 => match gpu.info().matrix_side {
            8 => served(&MATRIX_8, TILE, Grid::Heads),
            _ => served(&MATRIX_16, LARGE_TILE, Grid::Heads),
        },
        AttentionKernel::Tile64 | AttentionKernel::Matrix if in_fours && head_size <= 64 && has_memory(gpu) => {
            served(&TILE_64, LARGE_TILE, Grid::Heads)
        }
        _ => served(&KERNEL, TILE, Grid::Blocks),
    }
}

/// Whether the device has the memory of [`TILE_64`].
fn has_memory(gpu: &Gpu) -> bool {
    gpu.info().workgroup_memory >= TILE_64_MEMORY
}

/// `softmax(q kᵀ / sqrt(d)) v` inside each cell.
#[expect(clippy::too_many_arguments, reason = "the operation's own")]
#[expect(clippy::cast_precision_loss, reason = "a head size is small")]
pub(crate) fn launch(
    gpu: &Gpu,
    q: &Columns<'_, Tensor>,
    k: &Columns<'_, Tensor>,
    v: &Columns<'_, Tensor>,
    batch: &Batch,
    queries: Queries,
    n_heads: usize,
    head_size: usize,
) -> Result<Tensor> {
    let columns = [
        q.first,
        q.tensor.n_cols(),
        k.first,
        k.tensor.n_cols(),
        v.first,
        v.tensor.n_cols(),
    ];
    let in_fours = columns.iter().fold(head_size, |all, column| all | column).is_multiple_of(4);
    let served = served(gpu, head_size, in_fours);
    let tiles = match queries {
        Queries::AllRows => &batch.tiles,
        Queries::LatentRows => &batch.latent_tiles,
    };
    // Tiles of [LAT] rows are of one query, whatever their length may be.
    let fitting = tiles
        .iter()
        .find(|tiles| queries == Queries::LatentRows || tiles.len == served.tile);
    let Some(tiles) = fitting else {
        return Err(gpu.error(served.kernel.name, "a batch from before the kernels were chosen"));
    };
    let out = gpu.tensor(q.tensor.n_rows(), n_heads * head_size)?;
    let buffers = [
        &tiles.buffer,
        &q.tensor.buffer,
        &k.tensor.buffer,
        &v.tensor.buffer,
        &out.buffer,
    ];
    let pairs: u64 = batch
        .cells
        .iter()
        .map(|c| {
            let n_queries = if queries == Queries::AllRows { c.n_rows } else { 1 };
            (n_queries.next_multiple_of(served.tile) * c.n_keys) as u64
        })
        .sum();
    let head_flops = 4 * pairs * head_size as u64;
    // A dispatch cannot be interrupted: on a slow adapter many pairs take several, some heads each.
    let most = usize::try_from(gpu.most_flops() / head_flops.max(1))
        .unwrap_or(usize::MAX)
        .max(1);
    for first in (0..n_heads).step_by(most) {
        let n_heads_now = most.min(n_heads - first);
        let n_blocks = head_size.div_ceil(64);
        let first_col = first * head_size;
        let n_tiles = match gpu.choice.attention {
            // Leaves out the last tile.
            #[cfg(test)]
            AttentionKernel::Wrong => tiles.n - 1,
            _ => tiles.n,
        };
        let params = Params {
            n_tiles: count(n_tiles),
            n_blocks: count(if matches!(served.grid, Grid::Blocks) {
                n_blocks
            } else {
                n_heads_now
            }),
            head_size: count(head_size),
            scale: 1.0 / (head_size as f32).sqrt(),
            q_first_col: count(q.first + first_col),
            q_n_cols: count(q.tensor.n_cols()),
            k_first_col: count(k.first + first_col),
            k_n_cols: count(k.tensor.n_cols()),
            v_first_col: count(v.first + first_col),
            v_n_cols: count(v.tensor.n_cols()),
            out_n_cols: count(n_heads * head_size),
            out_first_col: count(first_col),
        };
        let [x, y, _] = folded(tiles.n);
        let grid = match served.grid {
            Grid::Blocks => [x, y, count(n_heads_now * n_blocks)],
            Grid::Heads => [x, y, count(n_heads_now)],
            Grid::Threads => folded((tiles.n * (TILE / 8) * n_heads_now).div_ceil(16)),
        };
        let wide = if head_size > 32 { 1.0 } else { 0.0 };
        let constants = &[wide][..served.kernel.overrides.len()];
        gpu.launch(
            served.kernel,
            constants,
            &params,
            &buffers,
            grid,
            head_flops * n_heads_now as u64,
        )?;
    }
    Ok(out)
}
