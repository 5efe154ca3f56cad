// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]) for many rows; n_in is a multiple of 4
// Grid: x tiles of 64 columns n, y tiles of 128 rows m; 16 x 8 threads, each 2 times 4 rows by 2 times 4 columns.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

const TILE_K = 16u;

// Turned, so that a thread reads 4 neighbouring rows or columns at once: [TILE_K, rows or columns / 4]. Where they are read the first index is a
// number, so that nothing but the second has to be held against a length, and that once.
var<workgroup> x_tile: array<array<vec4<f32>, 32>, 16>;
var<workgroup> weight_tile: array<array<vec4<f32>, 16>, 16>;

@compute @workgroup_size(128)
fn linear_128(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.y * 128u;
    let first_col = workgroup.x * 64u;
    let thread_col = thread % 8u;
    let thread_row = thread / 8u;
    // While loading, a thread turns a square of 4 rows of x and 4 k, and the first 64 threads one of weight too.
    let load_part = thread % 4u;
    let load_group = thread / 4u;

#repeat i 4
    var low_a$i = vec4<f32>();
    var low_b$i = vec4<f32>();
    var high_a$i = vec4<f32>();
    var high_b$i = vec4<f32>();
#end
    var next_x = x_square(first_row + load_group * 4u, load_part * 4u);
    var next_weight = mat4x4<f32>();
    if thread < 64u {
        next_weight = weight_square(first_col + load_group * 4u, load_part * 4u);
    }
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
#repeat i 4
        x_tile[load_part * 4u + $iu][load_group] = next_x[$i];
#end
        if thread < 64u {
#repeat i 4
            weight_tile[load_part * 4u + $iu][load_group] = next_weight[$i];
#end
        }
        workgroupBarrier();
        // On their way while this tile is computed.
        let k = k0 + TILE_K + load_part * 4u;
        next_x = x_square(first_row + load_group * 4u, k);
        if thread < 64u {
            next_weight = weight_square(first_col + load_group * 4u, k);
        }
#repeat k 16
        let low$k = x_tile[$k][thread_row];
        let high$k = x_tile[$k][thread_row + 16u];
        let a$k = weight_tile[$k][thread_col];
        let b$k = weight_tile[$k][thread_col + 8u];
#repeat i 4
        low_a$i += low$k[$i] * a$k;
        low_b$i += low$k[$i] * b$k;
        high_a$i += high$k[$i] * a$k;
        high_b$i += high$k[$i] * b$k;
#end
#end
        workgroupBarrier();
    }
    let row = first_row + thread_row * 4u;
    let col = first_col + thread_col * 4u;
#repeat i 4
    finish(row + $iu, col, low_a$i);
    finish(row + $iu, col + 32u, low_b$i);
    finish(row + 64u + $iu, col, high_a$i);
    finish(row + 64u + $iu, col + 32u, high_b$i);
#end
}
