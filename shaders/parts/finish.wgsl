// The epilogue of linear for any columns.

@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [n_rows, out_n_cols]

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
            value = relu(value);
        }
        if EPILOGUE == ADD {
            value += out[row * params.out_n_cols + col + i];
        }
        store(row, col + i, value);
    }
}
