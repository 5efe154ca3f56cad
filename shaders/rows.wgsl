// out[r, c] = x[first_row + r, c]
// Grid: one thread an element of out, 256 a workgroup, workgroups over x then y.

struct Params {
    n_rows: u32,
    n_cols: u32,
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [at least first_row + n_rows, n_cols]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [n_rows, n_cols]

@compute @workgroup_size(256)
fn rows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = (workgroup.x + workgroup.y * n_workgroups.x) * 256u + thread;
    if i >= params.n_rows * params.n_cols {
        return;
    }
    out[i] = x[params.first_row * params.n_cols + i];
}
