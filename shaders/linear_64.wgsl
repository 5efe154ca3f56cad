// out[m, n] = epilogue(sum over k of x[m, k] * weight[first_weight_row + n, k]); n_in is a multiple of 4
// Grid: x tiles of 64 columns n, y tiles of 64 rows m; 16 x 16 threads, each 4 rows by 4 columns.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

const TILE_K = 32u;

// Turned, so that a thread reads 4 neighbouring rows or columns at once: [TILE_K, 64 / 4].
var<workgroup> x_tile: array<array<vec4<f32>, 16>, 32>;
var<workgroup> weight_tile: array<array<vec4<f32>, 16>, 32>;

@compute @workgroup_size(256)
fn linear_64(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_row = workgroup.y * 64u;
    let first_col = workgroup.x * 64u;
    let thread_col = thread % 16u;
    let thread_row = thread / 16u;
    // While loading, a thread turns a square of 4 rows and 4 k: the first 128 threads those of x, the others those of weight.
    let load_part = thread % 8u;
    let load_group = thread % 128u / 8u;

#repeat i 4
    var sums$i = vec4<f32>();
#end
    for (var k0 = 0u; k0 < params.n_in; k0 += TILE_K) {
        let k = k0 + load_part * 4u;
        if thread < 128u {
            let turned = x_square(first_row + load_group * 4u, k);
#repeat i 4
            x_tile[load_part * 4u + $iu][load_group] = turned[$i];
#end
        } else {
            let turned = weight_square(first_col + load_group * 4u, k);
#repeat i 4
            weight_tile[load_part * 4u + $iu][load_group] = turned[$i];
#end
        }
        workgroupBarrier();
#repeat k 32
        let rows$k = x_tile[$k][thread_row];
        let cols$k = weight_tile[$k][thread_col];
#repeat i 4
        sums$i += rows$k[$i] * cols$k;
#end
#end
        workgroupBarrier();
    }
    let row = first_row + thread_row * 4u;
    let col = first_col + thread_col * 4u;
#repeat i 4
    finish(row + $iu, col, sums$i);
#end
}
