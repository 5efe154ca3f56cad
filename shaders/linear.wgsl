// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k])
// Grid: x tiles of 64 columns n, y tiles of 64 rows m; 16 x 16 threads, each 4 rows by 4 columns.

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n_rows, n_in]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [at least first_weight_row + n_out, n_in]

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
