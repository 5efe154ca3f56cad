// Where rows of the factors of a product begin, in fours.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [n_rows, n_in]

// Rows past the ends are read as the last one, and not written.
fn x_start(row: u32) -> u32 {
    return min(row, params.n_rows - 1u) * (params.n_in / 4u);
}

fn weight_start(col: u32) -> u32 {
    return (params.first_weight_row + min(col, params.n_out - 1u)) * (params.n_in / 4u);
}
