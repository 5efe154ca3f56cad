// out[h, q, key] = softmax over the keys of (q . k / sqrt(head_size)) for the rows of one cell; 0 at unattended keys
// Grid: x queries, y heads; one workgroup of 64 threads each.

struct Params {
    first_row: u32,
    n_rows: u32,
    n_keys: u32,
    head_size: u32,
    scale: f32, // 1 / sqrt(head_size)
    q_first_col: u32,
    q_n_cols: u32,
    k_first_col: u32,
    k_n_cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>; // [rows of all cells, q_n_cols]
@group(0) @binding(2) var<storage, read> k: array<f32>; // [rows of all cells, k_n_cols]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [n_heads, n_rows, n_rows]

var<workgroup> partial: array<f32, 64>;
var<workgroup> reduced: f32;

@compute @workgroup_size(64)
fn attention_weights(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let query = workgroup.x;
    let head_col = workgroup.y * params.head_size;
    let q_start = (params.first_row + query) * params.q_n_cols + params.q_first_col + head_col;
    let out_start = (workgroup.y * params.n_rows + query) * params.n_rows;

    // Every thread comes back to the elements that it wrote itself, so storage needs no barrier.
    var own = -3.0e38;
    for (var key = thread; key < params.n_keys; key += 64u) {
        let k_start = (params.first_row + key) * params.k_n_cols + params.k_first_col + head_col;
        var score = 0.0;
        for (var col = 0u; col < params.head_size; col += 1u) {
            score += q[q_start + col] * k[k_start + col];
        }
        score *= params.scale;
        out[out_start + key] = score;
        own = max(own, score);
    }
    partial[thread] = own;
    workgroupBarrier();
    if thread == 0u {
        var largest = partial[0];
        for (var i = 1u; i < 64u; i += 1u) {
            largest = max(largest, partial[i]);
        }
        reduced = largest;
    }
    let largest = workgroupUniformLoad(&reduced);

    own = 0.0;
    for (var key = thread; key < params.n_keys; key += 64u) {
        let weight = exp(out[out_start + key] - largest);
        out[out_start + key] = weight;
        own += weight;
    }
    partial[thread] = own;
    workgroupBarrier();
    if thread == 0u {
        var sum = 0.0;
        for (var i = 0u; i < 64u; i += 1u) {
            sum += partial[i];
        }
        reduced = sum;
    }
    let total = workgroupUniformLoad(&reduced);
    for (var key = thread; key < params.n_rows; key += 64u) {
        if key < params.n_keys {
            out[out_start + key] /= total;
        } else {
            out[out_start + key] = 0.0;
        }
    }
}
