// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]) with products in f16 by matrix units; n_in is a multiple of 4, columns are of 8
// Grid: x tiles of TILE_COLS columns n, y tiles of TILE_ROWS rows m; N_SUBGROUPS subgroups, each ROW_SQUARES by COL_SQUARES squares of SIDE by SIDE.
//
// Sums are f32. Squares and threads are those of parts/matrix_*.wgsl, tiles those of parts/matrix_tile_*.wgsl.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f16>>; // [at least first_weight_row + n_out, n_in]

const N_THREADS = N_SUBGROUPS * LANES;
const TILE_ROWS = N_SUBGROUPS / ACROSS * ROW_SQUARES * SIDE;
const TILE_COLS = ACROSS * COL_SQUARES * SIDE;
const TILE_K = 32u;
// In fours: longer than TILE_K, and than a row of a subgroup's squares, so that lines begin in different banks.
const STRIDE = 10u;
const STRIP_STRIDE = COL_SQUARES * SIDE / 4u + 2u;
// Lines that are loaded at a time: a thread loads 4 numbers, 8 threads a line.
const LOAD_STEP = N_THREADS / 8u;

var<workgroup> x_tile: array<vec4<f16>, STRIDE * TILE_ROWS>; // [TILE_ROWS, STRIDE]
var<workgroup> weight_tile: array<vec4<f16>, STRIDE * TILE_COLS>; // [TILE_COLS, STRIDE]
var<workgroup> strips: array<vec4<f32>, N_SUBGROUPS * SIDE * STRIP_STRIDE>; // COL_SQUARES squares of each subgroup

fn x_at(row: u32, k: u32) -> vec4<f32> {
    if row < params.n_rows && k < params.n_in {
        return x[(row * params.n_in + k) / 4u];
    }
    return vec4<f32>();
}

// A row of weight is a column of out.
fn weight_at(col: u32, k: u32) -> vec4<f16> {
    if col < params.n_out && k < params.n_in {
        return weight[((params.first_weight_row + col) * params.n_in + k) / 4u];
    }
    return vec4<f16>();
}

@compute @workgroup_size(N_THREADS)
fn linear_matrix(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_row = workgroup.y * TILE_ROWS;
    let first_col = workgroup.x * TILE_COLS;
    // Of the squares of this subgroup, in the tile.
    let own_row = subgroup / ACROSS * (ROW_SQUARES * SIDE);
    let own_col = subgroup % ACROSS * (COL_SQUARES * SIDE);
    let line = thread / 8u;
    let part = thread % 8u;

#repeat i ROW_SQUARES
#repeat j COL_SQUARES
    var sum_$i_$j = Sum();
#end
#end
#repeat i LOADS
    var next_x$i = x_at(first_row + line + $iu * LOAD_STEP, part * 4u);
    var next_weight$i = weight_at(first_col + line + $iu * LOAD_STEP, part * 4u);
#end
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
#repeat i LOADS
        x_tile[(line + $iu * LOAD_STEP) * STRIDE + part] = vec4<f16>(next_x$i);
        weight_tile[(line + $iu * LOAD_STEP) * STRIDE + part] = next_weight$i;
#end
        workgroupBarrier();
        // On their way while this tile is computed.
        let k = k0 + TILE_K + part * 4u;
#repeat i LOADS
        next_x$i = x_at(first_row + line + $iu * LOAD_STEP, k);
        next_weight$i = weight_at(first_col + line + $iu * LOAD_STEP, k);
#end
#repeat k K_SQUARES
        {
#repeat i ROW_SQUARES
            let left_at$i = (own_row + $iu * SIDE) * STRIDE + $ku * SIDE / 4u;
            let left$i = coopLoadT<Left>(&x_tile[left_at$i], STRIDE);
#end
            // Its rows are the columns of the right factor.
#repeat j COL_SQUARES
            let right_at$j = (own_col + $ju * SIDE) * STRIDE + $ku * SIDE / 4u;
            let right$j = coopLoad<Right>(&weight_tile[right_at$j], STRIDE);
#end
#repeat i ROW_SQUARES
#repeat j COL_SQUARES
            sum_$i_$j = coopMultiplyAdd(left$i, right$j, sum_$i_$j);
#end
#end
        }
#end
        workgroupBarrier();
    }
    let own_strip = subgroup * (SIDE * STRIP_STRIDE);
    let row = first_row + own_row;
    let col = first_col + own_col;
#repeat i ROW_SQUARES
#repeat j COL_SQUARES
    let to_$i_$j = own_strip + $ju * SIDE / 4u;
    coopStoreT(sum_$i_$j, &strips[to_$i_$j], STRIP_STRIDE);
#end
    workgroupBarrier();
    finish_strip(row + $iu * SIDE, col, own_strip, lane);
    workgroupBarrier();
#end
}

// Writes squares of a subgroup that stand side by side, 8 columns a thread.
fn finish_strip(row: u32, col: u32, first: u32, lane: u32) {
    const EIGHTS = COL_SQUARES * SIDE / 8u;
    for (var i = lane; i < SIDE * EIGHTS; i += LANES) {
        let at = first + i / EIGHTS * STRIP_STRIDE + i % EIGHTS * 2u;
        finish_8(row + i / EIGHTS, col + i % EIGHTS * 8u, strips[at], strips[at + 1u]);
    }
}
