//! Adds rows of the gene embedding: `shaders/add_gene_embedding.wgsl`.

use crate::backend::Matrix;
use crate::error::Result;
use crate::gpu::kernel::{Access, Kernel, count, elements, params, wgsl};
use crate::gpu::{Batch, Gpu, Tensor, Weight};

params! { n_rows: u32, n_cols: u32, first_id: u32, n_ids: u32 }

pub(crate) const KERNEL: Kernel = Kernel {
    name: "add_gene_embedding",
    source: &[wgsl!("add_gene_embedding.wgsl")],
    needs: &[],
    buffers: &[("gene_ids", Access::Read), ("table", Access::Read), ("x", Access::ReadWrite)],
    params: Params::MEMBERS,
    overrides: &[],
};

/// `x[r] += table[gene_ids[r]]`, one launch a slice of the table.
pub(crate) fn launch(gpu: &Gpu, x: &Tensor, batch: &Batch, table: &Weight) -> Result<()> {
    for slice in &table.slices {
        let params = Params {
            n_rows: count(x.n_rows()),
            n_cols: count(x.n_cols()),
            first_id: count(slice.rows.start),
            n_ids: count(slice.rows.len()),
        };
        let buffers = [&batch.gene_ids, &slice.buffer, &x.buffer];
        gpu.launch(&KERNEL, &[], &params, &buffers, elements(x.n_rows() * x.n_cols()), 0)?;
    }
    Ok(())
}
