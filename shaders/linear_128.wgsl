// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]) for many rows; n_in is a multiple of 4
// Grid: x tiles of 128 columns n, y tiles of 128 rows m; 16 x 16 threads, each 8 rows by 2 times 4 columns.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

const TILE_K = 16u;

// Turned, so that a thread reads 4 neighbouring rows or columns at once: [TILE_K, 128 / 4].
var<workgroup> x_tile: array<vec4<f32>, 512>;
var<workgroup> weight_tile: array<vec4<f32>, 512>;

@compute @workgroup_size(256)
fn linear_128(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.y * 128u;
    let first_col = workgroup.x * 128u;
    let thread_col = thread % 16u;
    let thread_row = thread / 16u;
    // While loading, a thread turns a square of 4 rows and 4 k: the first 128 threads those of x, the others those of weight.
    let load_part = thread % 4u;
    let load_group = thread % 128u / 4u;
    let load_at = load_part * 128u + load_group;

    var sums0a = vec4<f32>();
    var sums0b = vec4<f32>();
    var sums1a = vec4<f32>();
    var sums1b = vec4<f32>();
    var sums2a = vec4<f32>();
    var sums2b = vec4<f32>();
    var sums3a = vec4<f32>();
    var sums3b = vec4<f32>();
    var sums4a = vec4<f32>();
    var sums4b = vec4<f32>();
    var sums5a = vec4<f32>();
    var sums5b = vec4<f32>();
    var sums6a = vec4<f32>();
    var sums6b = vec4<f32>();
    var sums7a = vec4<f32>();
    var sums7b = vec4<f32>();
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
        let k = k0 + load_part * 4u;
        if thread < 128u {
            let turned = x_square(first_row + load_group * 4u, k);
            x_tile[load_at] = turned[0];
            x_tile[load_at + 32u] = turned[1];
            x_tile[load_at + 64u] = turned[2];
            x_tile[load_at + 96u] = turned[3];
        } else {
            let turned = weight_square(first_col + load_group * 4u, k);
            weight_tile[load_at] = turned[0];
            weight_tile[load_at + 32u] = turned[1];
            weight_tile[load_at + 64u] = turned[2];
            weight_tile[load_at + 96u] = turned[3];
        }
        workgroupBarrier();
        for (var i = 0u; i < TILE_K * 32u; i += 32u) {
            let low = x_tile[i + thread_row * 2u];
            let high = x_tile[i + thread_row * 2u + 1u];
            let a = weight_tile[i + thread_col];
            let b = weight_tile[i + 16u + thread_col];
            sums0a += low.x * a;
            sums0b += low.x * b;
            sums1a += low.y * a;
            sums1b += low.y * b;
            sums2a += low.z * a;
            sums2b += low.z * b;
            sums3a += low.w * a;
            sums3b += low.w * b;
            sums4a += high.x * a;
            sums4b += high.x * b;
            sums5a += high.y * a;
            sums5b += high.y * b;
            sums6a += high.z * a;
            sums6b += high.z * b;
            sums7a += high.w * a;
            sums7b += high.w * b;
        }
        workgroupBarrier();
    }
    let row = first_row + thread_row * 8u;
    let col = first_col + thread_col * 4u;
    finish(row + 0u, col, sums0a);
    finish(row + 0u, col + 64u, sums0b);
    finish(row + 1u, col, sums1a);
    finish(row + 1u, col + 64u, sums1b);
    finish(row + 2u, col, sums2a);
    finish(row + 2u, col + 64u, sums2b);
    finish(row + 3u, col, sums3a);
    finish(row + 3u, col + 64u, sums3b);
    finish(row + 4u, col, sums4a);
    finish(row + 4u, col + 64u, sums4b);
    finish(row + 5u, col, sums5a);
    finish(row + 5u, col + 64u, sums5b);
    finish(row + 6u, col, sums6a);
    finish(row + 6u, col + 64u, sums6b);
    finish(row + 7u, col, sums7a);
    finish(row + 7u, col + 64u, sums7b);
}
