// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]) with products in f16 by matrix units; n_in is a multiple of 4
// Grid: x tiles of 8 * SIDE columns n, y tiles of 8 * SIDE rows m; 4 subgroups, each 4 by 4 squares of SIDE by SIDE.
//
// Sums are f32. The type of a square and SIDE are parts/matrix_8.wgsl's or parts/matrix_16.wgsl's.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

override N_THREADS: u32; // 4 subgroups
const TILE = 8u * SIDE;
const TILE_K = 16u;
// Longer than TILE_K, so that rows begin in different banks.
const STRIDE = 24u;

var<workgroup> x_tile: array<f16, STRIDE * TILE>; // [TILE, STRIDE]
var<workgroup> weight_tile: array<f16, STRIDE * TILE>; // [TILE, STRIDE]
var<workgroup> squares: array<f32, 4u * SIDE * SIDE>; // of each subgroup

@compute @workgroup_size(N_THREADS)
fn linear_matrix(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_row = workgroup.y * TILE;
    let first_col = workgroup.x * TILE;
    // Of the squares of this subgroup, in the tile.
    let own_row = subgroup / 2u * 4u * SIDE;
    let own_col = subgroup % 2u * 4u * SIDE;

    var sum00 = Sum();
    var sum01 = Sum();
    var sum02 = Sum();
    var sum03 = Sum();
    var sum10 = Sum();
    var sum11 = Sum();
    var sum12 = Sum();
    var sum13 = Sum();
    var sum20 = Sum();
    var sum21 = Sum();
    var sum22 = Sum();
    var sum23 = Sum();
    var sum30 = Sum();
    var sum31 = Sum();
    var sum32 = Sum();
    var sum33 = Sum();
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
        for (var i = thread; i < TILE * 4u; i += N_THREADS) {
            let line = i / 4u;
            let part = i % 4u * 4u;
            let at = line * STRIDE + part;
            let x4 = vec4<f16>(x_at(first_row + line, k0 + part));
            let weight4 = vec4<f16>(weight_at(first_col + line, k0 + part));
            x_tile[at] = x4.x;
            x_tile[at + 1u] = x4.y;
            x_tile[at + 2u] = x4.z;
            x_tile[at + 3u] = x4.w;
            weight_tile[at] = weight4.x;
            weight_tile[at + 1u] = weight4.y;
            weight_tile[at + 2u] = weight4.z;
            weight_tile[at + 3u] = weight4.w;
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_K; k += SIDE) {
            let left0_at = (own_row + 0u * SIDE) * STRIDE + k;
            let left1_at = (own_row + 1u * SIDE) * STRIDE + k;
            let left2_at = (own_row + 2u * SIDE) * STRIDE + k;
            let left3_at = (own_row + 3u * SIDE) * STRIDE + k;
            let right0_at = (own_col + 0u * SIDE) * STRIDE + k;
            let right1_at = (own_col + 1u * SIDE) * STRIDE + k;
            let right2_at = (own_col + 2u * SIDE) * STRIDE + k;
            let right3_at = (own_col + 3u * SIDE) * STRIDE + k;
            let left0 = coopLoadT<Left>(&x_tile[left0_at], STRIDE);
            let left1 = coopLoadT<Left>(&x_tile[left1_at], STRIDE);
            let left2 = coopLoadT<Left>(&x_tile[left2_at], STRIDE);
            let left3 = coopLoadT<Left>(&x_tile[left3_at], STRIDE);
            // Its rows are the columns of the right factor.
            let right0 = coopLoad<Right>(&weight_tile[right0_at], STRIDE);
            let right1 = coopLoad<Right>(&weight_tile[right1_at], STRIDE);
            let right2 = coopLoad<Right>(&weight_tile[right2_at], STRIDE);
            let right3 = coopLoad<Right>(&weight_tile[right3_at], STRIDE);
            sum00 = coopMultiplyAdd(left0, right0, sum00);
            sum01 = coopMultiplyAdd(left0, right1, sum01);
            sum02 = coopMultiplyAdd(left0, right2, sum02);
            sum03 = coopMultiplyAdd(left0, right3, sum03);
            sum10 = coopMultiplyAdd(left1, right0, sum10);
            sum11 = coopMultiplyAdd(left1, right1, sum11);
            sum12 = coopMultiplyAdd(left1, right2, sum12);
            sum13 = coopMultiplyAdd(left1, right3, sum13);
            sum20 = coopMultiplyAdd(left2, right0, sum20);
            sum21 = coopMultiplyAdd(left2, right1, sum21);
            sum22 = coopMultiplyAdd(left2, right2, sum22);
            sum23 = coopMultiplyAdd(left2, right3, sum23);
            sum30 = coopMultiplyAdd(left3, right0, sum30);
            sum31 = coopMultiplyAdd(left3, right1, sum31);
            sum32 = coopMultiplyAdd(left3, right2, sum32);
            sum33 = coopMultiplyAdd(left3, right3, sum33);
        }
        workgroupBarrier();
    }
    let own_squares = subgroup * SIDE * SIDE;
    coopStoreT(sum00, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 0u * SIDE, first_col + own_col + 0u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum01, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 0u * SIDE, first_col + own_col + 1u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum02, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 0u * SIDE, first_col + own_col + 2u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum03, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 0u * SIDE, first_col + own_col + 3u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum10, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 1u * SIDE, first_col + own_col + 0u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum11, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 1u * SIDE, first_col + own_col + 1u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum12, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 1u * SIDE, first_col + own_col + 2u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum13, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 1u * SIDE, first_col + own_col + 3u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum20, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 2u * SIDE, first_col + own_col + 0u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum21, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 2u * SIDE, first_col + own_col + 1u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum22, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 2u * SIDE, first_col + own_col + 2u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum23, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 2u * SIDE, first_col + own_col + 3u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum30, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 3u * SIDE, first_col + own_col + 0u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum31, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 3u * SIDE, first_col + own_col + 1u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum32, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 3u * SIDE, first_col + own_col + 2u * SIDE, own_squares, lane);
    workgroupBarrier();
    coopStoreT(sum33, &squares[own_squares], SIDE);
    workgroupBarrier();
    finish_square(first_row + own_row + 3u * SIDE, first_col + own_col + 3u * SIDE, own_squares, lane);
    workgroupBarrier();
}

// Writes a subgroup's square.
fn finish_square(row: u32, col: u32, at: u32, lane: u32) {
    for (var i = lane * 4u; i < SIDE * SIDE; i += N_THREADS) {
        let sums = vec4<f32>(squares[at + i], squares[at + i + 1u], squares[at + i + 2u], squares[at + i + 3u]);
        finish(row + i / SIDE, col + i % SIDE, sums);
    }
}
