// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]) for many rows, with products in f16; n_in is a multiple of 4
// Grid: x tiles of 128 columns n, y tiles of 128 rows m; 16 x 16 threads, each 8 rows by 2 times 4 columns.
//
// As linear_128. Sums are f16 over TILE_K terms only, then f32: longer ones lose digits, and may overflow.

enable f16;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

const TILE_K = 16u;

// Turned, so that a thread reads 4 neighbouring rows or columns at once: [TILE_K, 128 / 4].
var<workgroup> x_tile: array<vec4<f16>, 512>;
var<workgroup> weight_tile: array<vec4<f16>, 512>;

@compute @workgroup_size(256)
fn linear_f16(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
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
            x_tile[load_at] = vec4<f16>(turned[0]);
            x_tile[load_at + 32u] = vec4<f16>(turned[1]);
            x_tile[load_at + 64u] = vec4<f16>(turned[2]);
            x_tile[load_at + 96u] = vec4<f16>(turned[3]);
        } else {
            let turned = weight_square(first_col + load_group * 4u, k);
            weight_tile[load_at] = vec4<f16>(turned[0]);
            weight_tile[load_at + 32u] = vec4<f16>(turned[1]);
            weight_tile[load_at + 64u] = vec4<f16>(turned[2]);
            weight_tile[load_at + 96u] = vec4<f16>(turned[3]);
        }
        workgroupBarrier();
        var part0a = vec4<f16>();
        var part0b = vec4<f16>();
        var part1a = vec4<f16>();
        var part1b = vec4<f16>();
        var part2a = vec4<f16>();
        var part2b = vec4<f16>();
        var part3a = vec4<f16>();
        var part3b = vec4<f16>();
        var part4a = vec4<f16>();
        var part4b = vec4<f16>();
        var part5a = vec4<f16>();
        var part5b = vec4<f16>();
        var part6a = vec4<f16>();
        var part6b = vec4<f16>();
        var part7a = vec4<f16>();
        var part7b = vec4<f16>();
        for (var i = 0u; i < TILE_K * 32u; i += 32u) {
            let low = x_tile[i + thread_row * 2u];
            let high = x_tile[i + thread_row * 2u + 1u];
            let a = weight_tile[i + thread_col];
            let b = weight_tile[i + 16u + thread_col];
            part0a += low.x * a;
            part0b += low.x * b;
            part1a += low.y * a;
            part1b += low.y * b;
            part2a += low.z * a;
            part2b += low.z * b;
            part3a += low.w * a;
            part3b += low.w * b;
            part4a += high.x * a;
            part4b += high.x * b;
            part5a += high.y * a;
            part5b += high.y * b;
            part6a += high.z * a;
            part6b += high.z * b;
            part7a += high.w * a;
            part7b += high.w * b;
        }
        sums0a += vec4<f32>(part0a);
        sums0b += vec4<f32>(part0b);
        sums1a += vec4<f32>(part1a);
        sums1b += vec4<f32>(part1b);
        sums2a += vec4<f32>(part2a);
        sums2b += vec4<f32>(part2b);
        sums3a += vec4<f32>(part3a);
        sums3b += vec4<f32>(part3b);
        sums4a += vec4<f32>(part4a);
        sums4b += vec4<f32>(part4b);
        sums5a += vec4<f32>(part5a);
        sums5b += vec4<f32>(part5b);
        sums6a += vec4<f32>(part6a);
        sums6b += vec4<f32>(part6b);
        sums7a += vec4<f32>(part7a);
        sums7b += vec4<f32>(part7b);
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
