// What attention_64 and attention_matrix load.

// Four columns of a row; 0 past the ends.
fn q_at(tile: vec4<u32>, row: u32, first_col: u32, part: u32) -> vec4<f32> {
    if row < tile.y && part * 4u < params.head_size {
        return q[((tile.x + row) * params.q_n_cols + params.q_first_col + first_col) / 4u + part];
    }
    return vec4<f32>();
}

fn k_at(tile: vec4<u32>, row: u32, first_col: u32, part: u32) -> vec4<f32> {
    if row < tile.w && part * 4u < params.head_size {
        return k[((tile.z + row) * params.k_n_cols + params.k_first_col + first_col) / 4u + part];
    }
    return vec4<f32>();
}

fn v_at(tile: vec4<u32>, row: u32, first_col: u32, part: u32) -> vec4<f32> {
    if row < tile.w && part * 4u < params.head_size {
        return v[((tile.z + row) * params.v_n_cols + params.v_first_col + first_col) / 4u + part];
    }
    return vec4<f32>();
}
