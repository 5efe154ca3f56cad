// out[r, c] = max(0, values[r] * weight[c] + bias[c])
// Grid: one thread an element, 256 a workgroup, workgroups over x then y.

struct Params {
    n_rows: u32,
    n_cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>; // [n_rows]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [n_cols]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [n_cols]
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // [n_rows, n_cols]

@compute @workgroup_size(256)
fn encode_values(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = (workgroup.x + workgroup.y * n_workgroups.x) * 256u + thread;
    if i >= params.n_rows * params.n_cols {
        return;
    }
    let col = i % params.n_cols;
    out[i] = relu(values[i / params.n_cols] * weight[col] + bias[col]);
}
