// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]) for few rows; n_in is a multiple of 4
// Grid: x tiles of 32 columns n, y tiles of 32 rows m; 8 groups of 32 threads share k among them, each thread 4 rows by 2 times 4 columns.
//
// Small tiles give a large GPU something to do where rows are few, and a thread has as much to do with what it reads as in larger ones.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

const TILE_K = 64u;

// Turned: for each group 8 k of 32 rows or columns, in fours; the last index with its lower bits changed (see turned_place), so that threads that
// store neighbouring k do not meet in one bank.
var<workgroup> x_tile: array<array<array<vec4<f32>, 8>, 8>, 8>;
var<workgroup> weight_tile: array<array<array<vec4<f32>, 8>, 8>, 8>;

@compute @workgroup_size(256)
fn linear_32(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.y * 32u;
    let first_col = workgroup.x * 32u;
    let group = thread / 32u;
    let thread_col = thread % 4u;
    let thread_row = thread % 32u / 4u;
    // While loading, a thread turns a square of 4 rows and 4 k: the first 128 threads those of x, the others those of weight.
    let load_part = thread % 16u;
    let load_group = thread % 128u / 16u;
    let load_place = load_group ^ (load_part % 8u);

#repeat i 4
    var sums_a$i = vec4<f32>();
    var sums_b$i = vec4<f32>();
#end
    var next = mat4x4<f32>();
    if thread < 128u {
        next = x_square(first_row + load_group * 4u, load_part * 4u);
    } else {
        next = weight_square(first_col + load_group * 4u, load_part * 4u);
    }
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
        if thread < 128u {
#repeat i 4
            x_tile[load_part / 2u][load_part % 2u * 4u + $iu][load_place] = next[$i];
#end
        } else {
#repeat i 4
            weight_tile[load_part / 2u][load_part % 2u * 4u + $iu][load_place] = next[$i];
#end
        }
        workgroupBarrier();
        // On their way while this tile is computed.
        let k = k0 + TILE_K + load_part * 4u;
        if thread < 128u {
            next = x_square(first_row + load_group * 4u, k);
        } else {
            next = weight_square(first_col + load_group * 4u, k);
        }
#repeat half 2
        let turn$half = (group * 2u + $halfu) % 8u;
#repeat k 4
        let rows_$half_$k = x_tile[group][$halfu * 4u + $ku][thread_row ^ turn$half];
        let a_$half_$k = weight_tile[group][$halfu * 4u + $ku][thread_col ^ turn$half];
        let b_$half_$k = weight_tile[group][$halfu * 4u + $ku][(thread_col + 4u) ^ turn$half];
#repeat i 4
        sums_a$i += rows_$half_$k[$i] * a_$half_$k;
        sums_b$i += rows_$half_$k[$i] * b_$half_$k;
#end
#end
#end
        workgroupBarrier();
    }
    // Half of the groups that are left hand their sums to the others, until one is left: [2 groups, 8 sums, 32 threads] in each tile.
    for (var n_left = 4u; n_left > 0u; n_left /= 2u) {
        let slot = group % 2u * 4u;
        let in_x = group % 4u < 2u;
        if group >= n_left && group < 2u * n_left {
#repeat i 4
            if in_x {
                x_tile[slot + $iu][thread_row][thread_col] = sums_a$i;
                x_tile[slot + $iu][thread_row][thread_col + 4u] = sums_b$i;
            } else {
                weight_tile[slot + $iu][thread_row][thread_col] = sums_a$i;
                weight_tile[slot + $iu][thread_row][thread_col + 4u] = sums_b$i;
            }
#end
        }
        workgroupBarrier();
        if group < n_left {
            let giver = (group + n_left) % 4u;
            let giver_slot = giver % 2u * 4u;
#repeat i 4
            if giver < 2u {
                sums_a$i += x_tile[giver_slot + $iu][thread_row][thread_col];
                sums_b$i += x_tile[giver_slot + $iu][thread_row][thread_col + 4u];
            } else {
                sums_a$i += weight_tile[giver_slot + $iu][thread_row][thread_col];
                sums_b$i += weight_tile[giver_slot + $iu][thread_row][thread_col + 4u];
            }
#end
        }
        workgroupBarrier();
    }
    if group == 0u {
        let row = first_row + thread_row * 4u;
        let col = first_col + thread_col * 4u;
#repeat i 4
        finish(row + $iu, col, sums_a$i);
        finish(row + $iu, col + 16u, sums_b$i);
#end
    }
}
