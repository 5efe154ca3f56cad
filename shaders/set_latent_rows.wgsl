// x[cells[b].first_row, c] = latent[b, c]
// Grid: one thread an element of latent, 256 a workgroup, workgroups over x then y.

struct Params {
    n_cells: u32,
    n_cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> cells: array<vec4<u32>>; // [n_cells]: first_row, n_rows, n_keys, 0
@group(0) @binding(2) var<storage, read> latent: array<f32>; // [n_cells, n_cols]
@group(0) @binding(3) var<storage, read_write> x: array<f32>; // [n_rows, n_cols]

@compute @workgroup_size(256)
fn set_latent_rows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = (workgroup.x + workgroup.y * n_workgroups.x) * 256u + thread;
    if i >= params.n_cells * params.n_cols {
        return;
    }
    x[cells[i / params.n_cols].x * params.n_cols + i % params.n_cols] = latent[i];
}
