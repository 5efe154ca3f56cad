// out[q, h, c] = sum over keys of softmax(q . k / sqrt(64)) * v[key, h, c], inside one cell, with products in f16 by matrix units, in heads of 64
// Grid: x and y tiles of up to 4 * SIDE queries of one cell, z = head; 4 subgroups, each SIDE queries.
//
// As attention_64. Scores, weights' sums and outputs are f32. Scores and weights go through workgroup memory, since of a matrix unit's squares no
// thread knows which numbers it holds; outputs stay in the units. Weights are powers of 2 over a base of their row, which follows the row's largest
// score only once that is SLACK more: then outputs have to be fetched and shrunk, which happens a few times a row, where each tile of keys brings a
// new largest score to some row. Squares and threads are those of parts/matrix_*.wgsl.

const TILE = 32u; // keys
const HEAD_SIZE = 64u;
const LOWEST = -3.0e38;
const LOG2_E = 1.44269504;
const SLACK = 8.0; // weights are at most 2^SLACK: in f16 65504 is
const N_THREADS = 4u * LANES;
// In fours: longer than a head, and than a tile of keys, so that rows begin in different banks.
const STRIDE = 18u;
const KEY_STRIDE = 10u;
// Keys that are loaded at a time: 16 threads a key.
const LOAD_STEP = N_THREADS / 16u;

var<workgroup> k_tile: array<vec4<f16>, TILE * STRIDE>;
var<workgroup> v_tile: array<vec4<f16>, TILE * STRIDE>;
// Of each subgroup: q, then weights.
var<workgroup> left_tile: array<vec4<f16>, 4u * SIDE * STRIDE>;
// Of each subgroup: scores, or half of the columns of out.
var<workgroup> sum_tile: array<vec4<f32>, 4u * SIDE * KEY_STRIDE>;
// Of each subgroup: whether the base of a row grew.
var<workgroup> grew: array<u32, 4>;

@compute @workgroup_size(N_THREADS)
fn attention_matrix(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let number = workgroup.x + workgroup.y * n_workgroups.x;
    if number >= params.n_tiles {
        return;
    }
    let tile = tiles[number];
    let head_col = workgroup.z * HEAD_SIZE;
    let own_query = subgroup * SIDE;
    let own_left = subgroup * (SIDE * STRIDE);
    let own_sum = subgroup * (SIDE * KEY_STRIDE);
    // A row of scores has ROW_LANES threads: fours of keys, or of columns, in turn.
    let row = lane / ROW_LANES;
    let turn = lane % ROW_LANES;
    let line = thread / 16u;
    let part = thread % 16u;

    let scale = params.scale * LOG2_E;
    for (var i = lane; i < SIDE * 16u; i += LANES) {
        left_tile[own_left + i / 16u * STRIDE + i % 16u] = vec4<f16>(q_at(tile, own_query + i / 16u, head_col, i % 16u) * scale);
    }
    workgroupBarrier();
#repeat i HEAD_SQUARES
    let q_from$i = own_left + $iu * SIDE / 4u;
    let q$i = coopLoadT<Left>(&left_tile[q_from$i], STRIDE);
#end
    workgroupBarrier();

    var base = LOWEST;
    var sum = 0.0;
#repeat half 2
#repeat i K_SQUARES
    var out_$half_$i = Sum();
#end
#end
#repeat i KEY_LOADS
    var k$i = k_at(tile, line + $iu * LOAD_STEP, head_col, part);
    var v$i = v_at(tile, line + $iu * LOAD_STEP, head_col, part);
#end
    let row_sum = own_sum + row * KEY_STRIDE + turn;
    for (var key0 = 0u; key0 < tile.w; key0 += TILE) {
#repeat i KEY_LOADS
        k_tile[(line + $iu * LOAD_STEP) * STRIDE + part] = vec4<f16>(k$i);
        v_tile[(line + $iu * LOAD_STEP) * STRIDE + part] = vec4<f16>(v$i);
#end
        workgroupBarrier();
        // On their way while this tile is computed.
#repeat i KEY_LOADS
        k$i = k_at(tile, key0 + TILE + line + $iu * LOAD_STEP, head_col, part);
        v$i = v_at(tile, key0 + TILE + line + $iu * LOAD_STEP, head_col, part);
#end
#repeat j K_SQUARES
        var score$j = Sum();
#repeat i HEAD_SQUARES
        let k_from_$j_$i = $ju * SIDE * STRIDE + $iu * SIDE / 4u;
        // Its rows are the columns of the right factor.
        score$j = coopMultiplyAdd(q$i, coopLoad<Right>(&k_tile[k_from_$j_$i], STRIDE), score$j);
#end
        let score_to$j = own_sum + $ju * SIDE / 4u;
        coopStoreT(score$j, &sum_tile[score_to$j], KEY_STRIDE);
#end
        workgroupBarrier();
#repeat i ROW_FOURS
        var weight$i = sum_tile[row_sum + $iu * ROW_LANES];
#end
        if key0 + TILE > tile.w {
            let key = vec4<u32>(0u, 1u, 2u, 3u) + key0 + turn * 4u;
#repeat i ROW_FOURS
            weight$i = select(vec4<f32>(LOWEST), weight$i, key + $iu * ROW_LANES * 4u < vec4<u32>(tile.w));
#end
        }
        var most = weight0;
#repeat i ROW_FOURS
        most = max(most, weight$i);
#end
        var largest = max(max(most.x, most.y), max(most.z, most.w));
#repeat i LANE_STEPS
        largest = max(largest, subgroupShuffleXor(largest, 1u << $iu));
#end
        var shrink = 1.0;
        var grows = false;
        if largest > base + SLACK {
            // In the first tile there is nothing to shrink.
            grows = base > LOWEST;
            shrink = exp2(base - largest);
            base = largest;
            sum *= shrink;
        }
        let any_grows = subgroupAny(grows);
        if lane == 0u {
            grew[subgroup] = u32(any_grows);
        }
#repeat i ROW_FOURS
        weight$i = exp2(weight$i - base);
        sum += weight$i.x + weight$i.y + weight$i.z + weight$i.w;
        left_tile[own_left + row * KEY_STRIDE + turn + $iu * ROW_LANES] = vec4<f16>(weight$i);
#end
        // The weights are there too, for all.
        let which = workgroupUniformLoad(&grew);
        if which[0] + which[1] + which[2] + which[3] > 0u {
#repeat half 2
#repeat i K_SQUARES
            let out_at_$half_$i = own_sum + $iu * SIDE / 4u;
            coopStoreT(out_$half_$i, &sum_tile[out_at_$half_$i], KEY_STRIDE);
#end
            workgroupBarrier();
#repeat i ROW_FOURS
            sum_tile[row_sum + $iu * ROW_LANES] *= shrink;
#end
            workgroupBarrier();
#repeat i K_SQUARES
            out_$half_$i = coopLoadT<Sum>(&sum_tile[out_at_$half_$i], KEY_STRIDE);
#end
            workgroupBarrier();
#end
        }
#repeat j K_SQUARES
        let weights_from$j = own_left + $ju * SIDE / 4u;
        let weights$j = coopLoadT<Left>(&left_tile[weights_from$j], KEY_STRIDE);
#end
#repeat half 2
#repeat i K_SQUARES
#repeat j K_SQUARES
        let v_from_$half_$i_$j = $ju * SIDE * STRIDE + $halfu * 8u + $iu * SIDE / 4u;
        out_$half_$i = coopMultiplyAdd(weights$j, coopLoadT<Right>(&v_tile[v_from_$half_$i_$j], STRIDE), out_$half_$i);
#end
#end
#end
        workgroupBarrier();
    }
#repeat i LANE_STEPS
    sum += subgroupShuffleXor(sum, 1u << $iu);
#end
    let to = ((tile.x + own_query + row) * params.out_n_cols + params.out_first_col + head_col) / 4u + turn;
#repeat half 2
#repeat i K_SQUARES
    let last_$half_$i = own_sum + $iu * SIDE / 4u;
    coopStoreT(out_$half_$i, &sum_tile[last_$half_$i], KEY_STRIDE);
#end
    workgroupBarrier();
    if own_query + row < tile.y {
#repeat i ROW_FOURS
        out[to + $halfu * 8u + $iu * ROW_LANES] = sum_tile[row_sum + $iu * ROW_LANES] / sum;
#end
    }
    workgroupBarrier();
#end
}
