//! Attention without a stored score matrix: `shaders/attention.wgsl`.

use crate::backend::{CellRows, Columns, Matrix, Queries};
use crate::error::Result;
use crate::gpu::choose::AttentionKernel;
use crate::gpu::kernel::{Access, Kernel, count, folded, params, wgsl};
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

macro_rules! without_workgroup_memory {
    ($name:literal, $needs:expr) => {
        Kernel {
            name: $name,
            source: &[wgsl!(concat!($name, ".wgsl")), wgsl!("parts/attention_fours.wgsl"), PRODUCTS],
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
            overrides: &[],
        }
    };
}

pub(crate) const REGISTERS: Kernel = without_workgroup_memory!("attention_registers", &[]);
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const BROADCAST: Kernel = without_workgroup_memory!("attention_broadcast", &[crate::gpu::kernel::Feature::Subgroups]);

/// Queries that one workgroup serves.
const TILE: usize = 32;

/// For each tile: first query row, queries, first key row, keys.
pub(crate) fn tiles(cells: &[CellRows], queries: Queries) -> Vec<u32> {
    let mut tiles = Vec::new();
    for (i, cell) in cells.iter().enumerate() {
        let (first, n) = match queries {
            Queries::AllRows => (cell.first_row, cell.n_rows),
            Queries::LatentRows => (i, 1),
        };
        for start in (0..n).step_by(TILE) {
            tiles.extend([first + start, (n - start).min(TILE), cell.first_row, cell.n_keys].map(count));
        }
    }
    tiles
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
    let (tiles, n_tiles) = match queries {
        Queries::AllRows => (&batch.tiles, batch.n_tiles),
        Queries::LatentRows => (&batch.latent_tiles, batch.cells.len()),
    };
    let out = gpu.tensor(q.tensor.n_rows(), n_heads * head_size)?;
    let buffers = [tiles, &q.tensor.buffer, &k.tensor.buffer, &v.tensor.buffer, &out.buffer];
    let pairs: u64 = batch
        .cells
        .iter()
        .map(|c| {
            let n_queries = if queries == Queries::AllRows { c.n_rows } else { 1 };
            (n_queries.div_ceil(TILE) * TILE * c.n_keys) as u64
        })
        .sum();
    let head_flops = 4 * pairs * head_size as u64;
    // A dispatch cannot be interrupted: on a slow adapter many pairs take several, some heads each.
    let most = usize::try_from(gpu.most_flops() / head_flops.max(1)).unwrap_or(usize::MAX);
    for first in (0..n_heads).step_by(most.max(1)) {
        let part = Part {
            n_heads: most.max(1).min(n_heads - first),
            n_tiles,
            head_size,
            flops: head_flops,
        };
        let first_col = first * head_size;
        let params = Params {
            n_tiles: count(n_tiles),
            n_blocks: count(part.n_blocks()),
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
        part.launch(gpu, params, &buffers)?;
    }
    Ok(out)
}

/// Some heads.
struct Part {
    n_heads: usize,
    n_tiles: usize,
    head_size: usize,
    /// Of one head.
    flops: u64,
}

impl Part {
    /// Blocks of 64 columns in a head.
    const fn n_blocks(&self) -> usize {
        self.head_size.div_ceil(64)
    }

    fn launch(&self, gpu: &Gpu, params: Params, buffers: &[&Buffer]) -> Result<()> {
        let n_blocks = self.n_blocks();
        let wide = if self.head_size > 32 { 1.0 } else { 0.0 };
        let flops = self.flops * self.n_heads as u64;
        let [x, y, _] = folded(self.n_tiles);
        // Four neighbouring numbers are read at a time.
        let columns = [params.q_first_col, params.q_n_cols, params.k_first_col, params.k_n_cols];
        let columns = columns
            .iter()
            .fold(params.v_first_col | params.v_n_cols, |all, column| all | column);
        let in_fours = (params.head_size | columns).is_multiple_of(4);
        let without_blocks = Params {
            n_blocks: count(self.n_heads),
            ..params
        };
        match gpu.choice.attention {
            AttentionKernel::Registers if in_fours => {
                // A thread has 8 queries of one head, a workgroup 16 threads.
                let grid = folded((self.n_tiles * (TILE / 8) * self.n_heads).div_ceil(16));
                gpu.launch(&REGISTERS, &[], &without_blocks, buffers, grid, flops)
            }
            #[cfg(not(target_arch = "wasm32"))]
            AttentionKernel::Broadcast if in_fours => {
                gpu.launch(&BROADCAST, &[], &without_blocks, buffers, [x, y, count(self.n_heads)], flops)
            }
            // Leaves out the last tile.
            #[cfg(test)]
            AttentionKernel::Wrong => {
                let params = Params {
                    n_tiles: params.n_tiles - 1,
                    ..params
                };
                let grid = [x, y, count(self.n_heads * n_blocks)];
                gpu.launch(&KERNEL, &[wide], &params, buffers, grid, flops)
            }
            _ => {
                let grid = [x, y, count(self.n_heads * n_blocks)];
                gpu.launch(&KERNEL, &[wide], &params, buffers, grid, flops)
            }
        }
    }
}
