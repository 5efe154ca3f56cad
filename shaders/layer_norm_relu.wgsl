// out[r, c] = max(0, (x[r, c] - mean) / sqrt(variance + eps) * weight[c] + bias[c]), mean and variance over c
// Grid: one workgroup of 64 threads a row, rows over x then y.

struct Params {
    n_rows: u32,
    n_cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n_rows, n_cols]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [n_cols]
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [n_cols]
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // [n_rows, n_cols]

var<workgroup> partial: array<f32, 64>;
var<workgroup> total: f32;

// The sum over the workgroup of one number a thread.
fn sum_over_threads(thread: u32, value: f32) -> f32 {
    partial[thread] = value;
    workgroupBarrier();
    if thread == 0u {
        var sum = 0.0;
        for (var i = 0u; i < 64u; i += 1u) {
            sum += partial[i];
        }
        total = sum;
    }
    return workgroupUniformLoad(&total);
}

@compute @workgroup_size(64)
fn layer_norm_relu(
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
        sum += x[start + col];
    }
    let mean = sum_over_threads(thread, sum) / f32(params.n_cols);
    // The variance from differences, not from squares: squares cancel when the mean is large.
    var squares = 0.0;
    for (var col = thread; col < params.n_cols; col += 64u) {
        let difference = x[start + col] - mean;
        squares += difference * difference;
    }
    let variance = sum_over_threads(thread, squares) / f32(params.n_cols);
    let scale = 1.0 / sqrt(variance + params.eps);
    for (var col = thread; col < params.n_cols; col += 64u) {
        let value = (x[start + col] - mean) * scale * weight[col] + bias[col];
        out[start + col] = relu(value);
    }
}
