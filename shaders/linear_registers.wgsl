// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]), for adapters that compute on the CPU; n_in is a multiple of 4
// Grid: x tiles of 128 columns n, y tiles of 8 rows m; 16 threads, each 8 rows by 8 columns.
//
// There, workgroup memory is ordinary memory and a barrier cuts the shader into coroutines. What counts is how many products a loaded number gives.

@compute @workgroup_size(16)
fn linear_registers(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.y * 8u;
    let col = workgroup.x * 128u + thread * 8u;
    let x0_start = x_start(row + 0u);
    let x1_start = x_start(row + 1u);
    let x2_start = x_start(row + 2u);
    let x3_start = x_start(row + 3u);
    let x4_start = x_start(row + 4u);
    let x5_start = x_start(row + 5u);
    let x6_start = x_start(row + 6u);
    let x7_start = x_start(row + 7u);
    let w0_start = weight_start(col + 0u);
    let w1_start = weight_start(col + 1u);
    let w2_start = weight_start(col + 2u);
    let w3_start = weight_start(col + 3u);
    let w4_start = weight_start(col + 4u);
    let w5_start = weight_start(col + 5u);
    let w6_start = weight_start(col + 6u);
    let w7_start = weight_start(col + 7u);

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
    for (var k = 0u; k < params.n_in / 4u; k += 1u) {
        let w0 = weight4(w0_start + k);
        let w1 = weight4(w1_start + k);
        let w2 = weight4(w2_start + k);
        let w3 = weight4(w3_start + k);
        let w4 = weight4(w4_start + k);
        let w5 = weight4(w5_start + k);
        let w6 = weight4(w6_start + k);
        let w7 = weight4(w7_start + k);
        let x0 = x[x0_start + k];
        sums0a += products(x0, w0, w1, w2, w3);
        sums0b += products(x0, w4, w5, w6, w7);
        let x1 = x[x1_start + k];
        sums1a += products(x1, w0, w1, w2, w3);
        sums1b += products(x1, w4, w5, w6, w7);
        let x2 = x[x2_start + k];
        sums2a += products(x2, w0, w1, w2, w3);
        sums2b += products(x2, w4, w5, w6, w7);
        let x3 = x[x3_start + k];
        sums3a += products(x3, w0, w1, w2, w3);
        sums3b += products(x3, w4, w5, w6, w7);
        let x4 = x[x4_start + k];
        sums4a += products(x4, w0, w1, w2, w3);
        sums4b += products(x4, w4, w5, w6, w7);
        let x5 = x[x5_start + k];
        sums5a += products(x5, w0, w1, w2, w3);
        sums5b += products(x5, w4, w5, w6, w7);
        let x6 = x[x6_start + k];
        sums6a += products(x6, w0, w1, w2, w3);
        sums6b += products(x6, w4, w5, w6, w7);
        let x7 = x[x7_start + k];
        sums7a += products(x7, w0, w1, w2, w3);
        sums7b += products(x7, w4, w5, w6, w7);
    }
    finish(row + 0u, col, sums0a);
    finish(row + 0u, col + 4u, sums0b);
    finish(row + 1u, col, sums1a);
    finish(row + 1u, col + 4u, sums1b);
    finish(row + 2u, col, sums2a);
    finish(row + 2u, col + 4u, sums2b);
    finish(row + 3u, col, sums3a);
    finish(row + 3u, col + 4u, sums3b);
    finish(row + 4u, col, sums4a);
    finish(row + 4u, col + 4u, sums4b);
    finish(row + 5u, col, sums5a);
    finish(row + 5u, col + 4u, sums5b);
    finish(row + 6u, col, sums6a);
    finish(row + 6u, col + 4u, sums6b);
    finish(row + 7u, col, sums7a);
    finish(row + 7u, col + 4u, sums7b);
}
