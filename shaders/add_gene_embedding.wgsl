// x[r, c] += table[gene_ids[r] - first_id, c] where gene_ids[r] is one of the n_ids of this slice of the table
// Grid: one thread an element, 256 a workgroup, workgroups over x then y.

struct Params {
    n_rows: u32,
    n_cols: u32,
    first_id: u32,
    n_ids: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gene_ids: array<u32>; // [n_rows]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [n_ids, n_cols]
@group(0) @binding(3) var<storage, read_write> x: array<f32>; // [n_rows, n_cols]

@compute @workgroup_size(256)
fn add_gene_embedding(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = (workgroup.x + workgroup.y * n_workgroups.x) * 256u + thread;
    if i >= params.n_rows * params.n_cols {
        return;
    }
    // An id before the slice wraps around to a large number, so one comparison serves both ends.
    let id = gene_ids[i / params.n_cols] - params.first_id;
    if id < params.n_ids {
        x[i] += table[id * params.n_cols + i % params.n_cols];
    }
}
