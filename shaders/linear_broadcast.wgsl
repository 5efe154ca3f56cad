// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]), for adapters that compute on the CPU
// and whose subgroups have 8 threads or more; n_in is a multiple of 4
// Grid: x tiles of 64 columns n, y tiles of 24 rows m; 16 threads, each 24 rows by 4 columns.
//
// As linear_registers, but a thread loads a row of x for its whole subgroup: a load costs as much as 8 products there, a broadcast as one.

@compute @workgroup_size(16)
fn linear_broadcast(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let row = workgroup.y * 24u;
    let col = workgroup.x * 64u + thread * 4u;
    let low_start = x_start(row + lane % 8u);
    let middle_start = x_start(row + 8u + lane % 8u);
    let high_start = x_start(row + 16u + lane % 8u);
    let w0_start = weight_start(col + 0u);
    let w1_start = weight_start(col + 1u);
    let w2_start = weight_start(col + 2u);
    let w3_start = weight_start(col + 3u);

    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    var sums4 = vec4<f32>();
    var sums5 = vec4<f32>();
    var sums6 = vec4<f32>();
    var sums7 = vec4<f32>();
    var sums8 = vec4<f32>();
    var sums9 = vec4<f32>();
    var sums10 = vec4<f32>();
    var sums11 = vec4<f32>();
    var sums12 = vec4<f32>();
    var sums13 = vec4<f32>();
    var sums14 = vec4<f32>();
    var sums15 = vec4<f32>();
    var sums16 = vec4<f32>();
    var sums17 = vec4<f32>();
    var sums18 = vec4<f32>();
    var sums19 = vec4<f32>();
    var sums20 = vec4<f32>();
    var sums21 = vec4<f32>();
    var sums22 = vec4<f32>();
    var sums23 = vec4<f32>();
    for (var k = 0u; k < params.n_in / 4u; k += 1u) {
        let low = x[low_start + k];
        let middle = x[middle_start + k];
        let high = x[high_start + k];
        let w0 = weight4(w0_start + k);
        let w1 = weight4(w1_start + k);
        let w2 = weight4(w2_start + k);
        let w3 = weight4(w3_start + k);
        sums0 += products(subgroupBroadcast(low, 0u), w0, w1, w2, w3);
        sums1 += products(subgroupBroadcast(low, 1u), w0, w1, w2, w3);
        sums2 += products(subgroupBroadcast(low, 2u), w0, w1, w2, w3);
        sums3 += products(subgroupBroadcast(low, 3u), w0, w1, w2, w3);
        sums4 += products(subgroupBroadcast(low, 4u), w0, w1, w2, w3);
        sums5 += products(subgroupBroadcast(low, 5u), w0, w1, w2, w3);
        sums6 += products(subgroupBroadcast(low, 6u), w0, w1, w2, w3);
        sums7 += products(subgroupBroadcast(low, 7u), w0, w1, w2, w3);
        sums8 += products(subgroupBroadcast(middle, 0u), w0, w1, w2, w3);
        sums9 += products(subgroupBroadcast(middle, 1u), w0, w1, w2, w3);
        sums10 += products(subgroupBroadcast(middle, 2u), w0, w1, w2, w3);
        sums11 += products(subgroupBroadcast(middle, 3u), w0, w1, w2, w3);
        sums12 += products(subgroupBroadcast(middle, 4u), w0, w1, w2, w3);
        sums13 += products(subgroupBroadcast(middle, 5u), w0, w1, w2, w3);
        sums14 += products(subgroupBroadcast(middle, 6u), w0, w1, w2, w3);
        sums15 += products(subgroupBroadcast(middle, 7u), w0, w1, w2, w3);
        sums16 += products(subgroupBroadcast(high, 0u), w0, w1, w2, w3);
        sums17 += products(subgroupBroadcast(high, 1u), w0, w1, w2, w3);
        sums18 += products(subgroupBroadcast(high, 2u), w0, w1, w2, w3);
        sums19 += products(subgroupBroadcast(high, 3u), w0, w1, w2, w3);
        sums20 += products(subgroupBroadcast(high, 4u), w0, w1, w2, w3);
        sums21 += products(subgroupBroadcast(high, 5u), w0, w1, w2, w3);
        sums22 += products(subgroupBroadcast(high, 6u), w0, w1, w2, w3);
        sums23 += products(subgroupBroadcast(high, 7u), w0, w1, w2, w3);
    }
    finish(row + 0u, col, sums0);
    finish(row + 1u, col, sums1);
    finish(row + 2u, col, sums2);
    finish(row + 3u, col, sums3);
    finish(row + 4u, col, sums4);
    finish(row + 5u, col, sums5);
    finish(row + 6u, col, sums6);
    finish(row + 7u, col, sums7);
    finish(row + 8u, col, sums8);
    finish(row + 9u, col, sums9);
    finish(row + 10u, col, sums10);
    finish(row + 11u, col, sums11);
    finish(row + 12u, col, sums12);
    finish(row + 13u, col, sums13);
    finish(row + 14u, col, sums14);
    finish(row + 15u, col, sums15);
    finish(row + 16u, col, sums16);
    finish(row + 17u, col, sums17);
    finish(row + 18u, col, sums18);
    finish(row + 19u, col, sums19);
    finish(row + 20u, col, sums20);
    finish(row + 21u, col, sums21);
    finish(row + 22u, col, sums22);
    finish(row + 23u, col, sums23);
}
