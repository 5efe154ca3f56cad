// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]); n_in is a multiple of 4
// Grid: x tiles of 64 columns n, y tiles of 64 rows m; 16 x 16 threads, each 4 rows by 4 columns.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

const TILE_K = 32u;

// Turned, so that a thread reads 4 neighbouring rows or columns at once: [TILE_K, 64 / 4].
var<workgroup> x_tile: array<vec4<f32>, 512>;
var<workgroup> weight_tile: array<vec4<f32>, 512>;

@compute @workgroup_size(256)
fn linear_64(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.y * 64u;
    let first_col = workgroup.x * 64u;
    let thread_col = thread % 16u;
    let thread_row = thread / 16u;
    // While loading, a thread turns a square of 4 rows and 4 k: the first 128 threads those of x, the others those of weight.
    let load_part = thread % 8u;
    let load_group = thread % 128u / 8u;
    let load_at = load_part * 64u + load_group;

    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
        let k = k0 + load_part * 4u;
        if thread < 128u {
            let turned = x_square(first_row + load_group * 4u, k);
            x_tile[load_at] = turned[0];
            x_tile[load_at + 16u] = turned[1];
            x_tile[load_at + 32u] = turned[2];
            x_tile[load_at + 48u] = turned[3];
        } else {
            let turned = weight_square(first_col + load_group * 4u, k);
            weight_tile[load_at] = turned[0];
            weight_tile[load_at + 16u] = turned[1];
            weight_tile[load_at + 32u] = turned[2];
            weight_tile[load_at + 48u] = turned[3];
        }
        workgroupBarrier();
        for (var i = 0u; i < TILE_K * 16u; i += 16u) {
            let rows = x_tile[i + thread_row];
            let cols = weight_tile[i + thread_col];
            sums0 += rows.x * cols;
            sums1 += rows.y * cols;
            sums2 += rows.z * cols;
            sums3 += rows.w * cols;
        }
        workgroupBarrier();
    }
    let row = first_row + thread_row * 4u;
    let col = first_col + thread_col * 4u;
    finish(row, col, sums0);
    finish(row + 1u, col, sums1);
    finish(row + 2u, col, sums2);
    finish(row + 3u, col, sums3);
}
