// out[b, c] = mean of x[r, c] over the attended gene rows of cell b, which are its rows 1 .. n_keys; 0 without any
// Grid: x and y cells, z blocks of 64 columns; 4 lanes of rows by 64 columns a workgroup.

struct Params {
    n_cells: u32,
    n_cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> cells: array<vec4<u32>>; // [n_cells]: first_row, n_rows, n_keys, 0
@group(0) @binding(2) var<storage, read> x: array<f32>; // [n_rows, n_cols]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [n_cells, n_cols]

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn cell_mean(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) n_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let b = workgroup.x + workgroup.y * n_workgroups.x;
    if b >= params.n_cells {
        return;
    }
    let lane = thread / 64u;
    let col = workgroup.z * 64u + thread % 64u;
    let cell = cells[b];
    let n_genes = cell.z - 1u;
    var sum = 0.0;
    if col < params.n_cols {
        for (var gene = lane; gene < n_genes; gene += 4u) {
            sum += x[(cell.x + 1u + gene) * params.n_cols + col];
        }
    }
    sums[thread] = sum;
    workgroupBarrier();
    if lane == 0u && col < params.n_cols {
        let total = sums[thread] + sums[thread + 64u] + sums[thread + 128u] + sums[thread + 192u];
        out[b * params.n_cols + col] = total / f32(max(n_genes, 1u));
    }
}
