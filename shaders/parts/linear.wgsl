// What every kernel of linear has: parameters, and bindings but those of the factors and of out.

struct Params {
    n_rows: u32, // rows of x
    n_in: u32, // k
    n_out: u32, // rows of weight that are used
    first_weight_row: u32,
    out_first_col: u32, // column of out (before SwiGLU halves them) that weight row first_weight_row gives
    out_n_cols: u32, // width of out
    rope_n_cols: u32, // columns of out that are rotated
    head_size: u32,
}

// What the epilogue does; see Epilogue in src/backend.rs.
override EPILOGUE: u32;
const BIAS = 1u;
const BIAS_RELU = 2u;
const SWIGLU = 3u;
const ROPE = 4u;
const ADD = 5u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> side: array<f32>; // bias [out_n_cols], or cos and sin [positions, head_size]
@group(0) @binding(4) var<storage, read> positions: array<u32>; // [n_rows], for RoPE

fn silu(x: f32) -> f32 {
    return x / (1.0 + exp(-x));
}
