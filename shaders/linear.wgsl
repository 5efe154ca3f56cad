// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k])
// Grid: x tiles of 64 columns n, y tiles of 64 rows m; 16 x 16 threads, each 4 rows by 4 columns.

struct Params {
    n_rows: u32, // rows of x
    n_in: u32, // k
    n_out: u32, // rows of weight that are used
    first_weight_row: u32,
    out_first_col: u32, // column of out (before SwiGLU halves them) that weight row first_weight_row gives
    out_n_cols: u32, // width of out
    rope_n_cols: u32, // columns of out that are rotated
    head_size: u32,
}

// What the epilogue does; see Epilogue in src/backend.rs.
override EPILOGUE: u32;
const BIAS = 1u;
const BIAS_RELU = 2u;
const SWIGLU = 3u;
const ROPE = 4u;
const ADD = 5u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [n_rows, n_in]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [at least first_weight_row + n_out, n_in]
@group(0) @binding(3) var<storage, read> side: array<f32>; // bias [out_n_cols], or cos and sin [positions, head_size]
@group(0) @binding(4) var<storage, read> positions: array<u32>; // [n_rows], for RoPE
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [n_rows, out_n_cols]

const TILE_K = 16u;
// vec4 of neighbouring k in a row of a tile: TILE_K / 4, and one more, so that rows do not start in the same memory bank.
const STRIDE = 5u;

var<workgroup> x_tile: array<vec4<f32>, 320>; // [64 rows, STRIDE]
var<workgroup> weight_tile: array<vec4<f32>, 320>; // [64 columns, STRIDE]

// 4 neighbouring k of a row of x, 0 past the ends.
fn x_at(row: u32, k: u32) -> vec4<f32> {
    var values = vec4<f32>();
    if row < params.n_rows {
        let start = row * params.n_in + k;
        for (var i = 0u; i < 4u; i += 1u) {
            if k + i < params.n_in {
                values[i] = x[start + i];
            }
        }
    }
    return values;
}

// The same of a row of weight, which is a column of out.
fn weight_at(col: u32, k: u32) -> vec4<f32> {
    var values = vec4<f32>();
    if col < params.n_out {
        let start = (params.first_weight_row + col) * params.n_in + k;
        for (var i = 0u; i < 4u; i += 1u) {
            if k + i < params.n_in {
                values[i] = weight[start + i];
            }
        }
    }
    return values;
}

fn silu(x: f32) -> f32 {
    return x / (1.0 + exp(-x));
}

fn store(row: u32, col: u32, value: f32) {
    if row < params.n_rows && col < params.out_n_cols {
        out[row * params.out_n_cols + col] = value;
    }
}

// Writes 4 neighbouring columns of one row.
fn finish(row: u32, tile_col: u32, sums: vec4<f32>) {
    if row >= params.n_rows || tile_col >= params.n_out {
        return;
    }
    let col = params.out_first_col + tile_col;
    let n_valid = min(4u, params.n_out - tile_col);
    if EPILOGUE == SWIGLU {
        store(row, col / 2u, silu(sums.x) * sums.y);
        if n_valid > 2u {
            store(row, col / 2u + 1u, silu(sums.z) * sums.w);
        }
        return;
    }
    var result = sums;
    if EPILOGUE == ROPE {
        let angles = positions[row] * params.head_size;
        if col < params.rope_n_cols {
            let at = angles + col % params.head_size;
            result.x = sums.x * side[at] - sums.y * side[at + 1u];
            result.y = sums.x * side[at + 1u] + sums.y * side[at];
        }
        if col + 2u < params.rope_n_cols {
            let at = angles + (col + 2u) % params.head_size;
            result.z = sums.z * side[at] - sums.w * side[at + 1u];
            result.w = sums.z * side[at + 1u] + sums.w * side[at];
        }
    }
    for (var i = 0u; i < n_valid; i += 1u) {
        var value = result[i];
        if EPILOGUE == BIAS || EPILOGUE == BIAS_RELU {
            value += side[col + i];
        }
        if EPILOGUE == BIAS_RELU {
            value = max(0.0, value);
        }
        if EPILOGUE == ADD {
            value += out[row * params.out_n_cols + col + i];
        }
        store(row, col + i, value);
    }
}

@compute @workgroup_size(256)
fn linear(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.y * 64u;
    let first_col = workgroup.x * 64u;
    let thread_col = (thread % 16u) * 4u;
    let thread_row = (thread / 16u) * 4u;
    // While loading, a thread brings 4 neighbouring k of one row of x and one of weight.
    let load_row = thread / 4u;
    let load_k = thread % 4u;

    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
        x_tile[load_row * STRIDE + load_k] = x_at(first_row + load_row, k0 + load_k * 4u);
        weight_tile[load_row * STRIDE + load_k] = weight_at(first_col + load_row, k0 + load_k * 4u);
        workgroupBarrier();
        for (var k = 0u; k < TILE_K / 4u; k += 1u) {
            let r = thread_row * STRIDE + k;
            let c = thread_col * STRIDE + k;
            let w0 = weight_tile[c];
            let w1 = weight_tile[c + STRIDE];
            let w2 = weight_tile[c + 2u * STRIDE];
            let w3 = weight_tile[c + 3u * STRIDE];
            let x0 = x_tile[r];
            let x1 = x_tile[r + STRIDE];
            let x2 = x_tile[r + 2u * STRIDE];
            let x3 = x_tile[r + 3u * STRIDE];
            sums0 += vec4<f32>(dot(x0, w0), dot(x0, w1), dot(x0, w2), dot(x0, w3));
            sums1 += vec4<f32>(dot(x1, w0), dot(x1, w1), dot(x1, w2), dot(x1, w3));
            sums2 += vec4<f32>(dot(x2, w0), dot(x2, w1), dot(x2, w2), dot(x2, w3));
            sums3 += vec4<f32>(dot(x3, w0), dot(x3, w1), dot(x3, w2), dot(x3, w3));
        }
        workgroupBarrier();
    }
    finish(first_row + thread_row, first_col + thread_col, sums0);
    finish(first_row + thread_row + 1u, first_col + thread_col, sums1);
    finish(first_row + thread_row + 2u, first_col + thread_col, sums2);
    finish(first_row + thread_row + 3u, first_col + thread_col, sums3);
}
