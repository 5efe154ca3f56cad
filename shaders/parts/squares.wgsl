// Squares of 4 neighbouring rows and 4 neighbouring k, turned: a vector a k. 0 past the ends.

fn x_at(row: u32, k: u32) -> vec4<f32> {
    if row < params.n_rows && k < params.n_in {
        return x[(row * params.n_in + k) / 4u];
    }
    return vec4<f32>();
}

fn x_square(row: u32, k: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(x_at(row, k), x_at(row + 1u, k), x_at(row + 2u, k), x_at(row + 3u, k)));
}

// A row of weight is a column of out.
fn weight_at(col: u32, k: u32) -> vec4<f32> {
    if col < params.n_out && k < params.n_in {
        return weight4(((params.first_weight_row + col) * params.n_in + k) / 4u);
    }
    return vec4<f32>();
}

fn weight_square(col: u32, k: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(weight_at(col, k), weight_at(col + 1u, k), weight_at(col + 2u, k), weight_at(col + 3u, k)));
}
