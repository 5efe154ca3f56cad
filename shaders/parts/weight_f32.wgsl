// Weights as f32, 4 neighbouring numbers of a row at a time.

@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>; // [at least first_weight_row + n_out, n_in]

fn weight4(at: u32) -> vec4<f32> {
    return weight[at];
}
