// What every kernel of linear has: parameters, bindings but those of the factors, and the epilogue.

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
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [n_rows, out_n_cols]

fn silu(x: f32) -> f32 {
    return x / (1.0 + exp(-x));
}

fn store(row: u32, col: u32, value: f32) {
    if row < params.n_rows && col < params.out_n_cols {
        out[row * params.out_n_cols + col] = value;
    }
}

// Writes 4 neighbouring columns of one row.
fn finish(row: u32, tile_col: u32, sums: vec4<f32>) {
    if row >= params.n_rows || tile_col >= params.n_out {
        return;
    }
    let col = params.out_first_col + tile_col;
    let n_valid = min(4u, params.n_out - tile_col);
    if EPILOGUE == SWIGLU {
        store(row, col / 2u, silu(sums.x) * sums.y);
        if n_valid > 2u {
            store(row, col / 2u + 1u, silu(sums.z) * sums.w);
        }
        return;
    }
    var result = sums;
    if EPILOGUE == ROPE {
        let angles = positions[row] * params.head_size;
        if col < params.rope_n_cols {
            let at = angles + col % params.head_size;
            result.x = sums.x * side[at] - sums.y * side[at + 1u];
            result.y = sums.x * side[at + 1u] + sums.y * side[at];
        }
        if col + 2u < params.rope_n_cols {
            let at = angles + (col + 2u) % params.head_size;
            result.z = sums.z * side[at] - sums.w * side[at + 1u];
            result.w = sums.z * side[at + 1u] + sums.w * side[at];
        }
    }
    for (var i = 0u; i < n_valid; i += 1u) {
        var value = result[i];
        if EPILOGUE == BIAS || EPILOGUE == BIAS_RELU {
            value += side[col + i];
        }
        if EPILOGUE == BIAS_RELU {
            value = max(0.0, value);
        }
        if EPILOGUE == ADD {
            value += out[row * params.out_n_cols + col + i];
        }
        store(row, col + i, value);
    }
}
