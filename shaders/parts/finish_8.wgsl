// The epilogue of linear where all columns are multiples of 8.

@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>; // [n_rows, out_n_cols]

// Writes 8 neighbouring columns of one row.
fn finish_8(row: u32, tile_col: u32, a: vec4<f32>, b: vec4<f32>) {
    if row >= params.n_rows || tile_col >= params.n_out {
        return;
    }
    let col = params.out_first_col + tile_col;
    if EPILOGUE == SWIGLU {
        let gates = vec4<f32>(silu(a.x), silu(a.z), silu(b.x), silu(b.z));
        out[(row * params.out_n_cols + col / 2u) / 4u] = gates * vec4<f32>(a.y, a.w, b.y, b.w);
        return;
    }
    let at = (row * params.out_n_cols + col) / 4u;
    out[at] = finished(row, col, at, a);
    out[at + 1u] = finished(row, col + 4u, at + 1u, b);
}

// A pair of columns, turned by the angle of its row's position.
fn rotated(row: u32, col: u32, pair: vec2<f32>) -> vec2<f32> {
    if col >= params.rope_n_cols {
        return pair;
    }
    let at = positions[row] * params.head_size + col % params.head_size;
    return vec2<f32>(pair.x * side[at] - pair.y * side[at + 1u], pair.x * side[at + 1u] + pair.y * side[at]);
}

fn finished(row: u32, col: u32, at: u32, sums: vec4<f32>) -> vec4<f32> {
    if EPILOGUE == ROPE {
        return vec4<f32>(rotated(row, col, sums.xy), rotated(row, col + 2u, sums.zw));
    }
    if EPILOGUE == BIAS || EPILOGUE == BIAS_RELU {
        let result = sums + vec4<f32>(side[col], side[col + 1u], side[col + 2u], side[col + 3u]);
        if EPILOGUE == BIAS_RELU {
            return vec4<f32>(relu(result.x), relu(result.y), relu(result.z), relu(result.w));
        }
        return result;
    }
    if EPILOGUE == ADD {
        return sums + out[at];
    }
    return sums;
}
