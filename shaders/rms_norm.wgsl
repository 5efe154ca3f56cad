// out[r, c] = x[r, c] / sqrt(mean over c of x[r, c]^2 + eps) * weight[c]
// Grid: one workgroup of 64 threads a row, rows over x then y.

struct Params {
    n_rows: u32,
    n_cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n_rows, n_cols]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [n_cols]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [n_rows, n_cols]

var<workgroup> partial: array<f32, 64>;
var<workgroup> factor: f32;

@compute @workgroup_size(64)
fn rms_norm(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = workgroup.x + workgroup.y * n_workgroups.x;
    if row >= params.n_rows {
        return;
    }
    let start = row * params.n_cols;
    var sum = 0.0;
    for (var col = thread; col < params.n_cols; col += 64u) {
        let value = x[start + col];
        sum += value * value;
    }
    partial[thread] = sum;
    workgroupBarrier();
    if thread == 0u {
        var total = 0.0;
        for (var i = 0u; i < 64u; i += 1u) {
            total += partial[i];
        }
        factor = 1.0 / sqrt(total / f32(params.n_cols) + params.eps);
    }
    // Read with workgroupUniformLoad: plain indexing after a barrier hides a race that software adapters do not show.
    let scale = workgroupUniformLoad(&factor);
    for (var col = thread; col < params.n_cols; col += 64u) {
        out[start + col] = x[start + col] * scale * weight[col];
    }
}
