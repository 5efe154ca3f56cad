// What the kernels of attention have that read four numbers at a time: parameters and bindings.

struct Params {
    n_tiles: u32,
    n_heads: u32,
    head_size: u32,
    scale: f32, // 1 / sqrt(head_size)
    q_first_col: u32,
    q_n_cols: u32,
    k_first_col: u32,
    k_n_cols: u32,
    v_first_col: u32,
    v_n_cols: u32,
    out_n_cols: u32,
    out_first_col: u32, // of the first head
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>; // [n_tiles]: first query row, n_queries, first key row, n_keys
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>; // [n_queries of all cells, q_n_cols]
@group(0) @binding(3) var<storage, read> k: array<vec4<f32>>; // [n_rows, k_n_cols]
@group(0) @binding(4) var<storage, read> v: array<vec4<f32>>; // [n_rows, v_n_cols]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>; // [n_queries of all cells, out_n_cols]
