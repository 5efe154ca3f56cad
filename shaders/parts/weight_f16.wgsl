// Weights as f16, two in a u32, 4 neighbouring numbers of a row at a time.

@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>; // [at least first_weight_row + n_out, n_in]

fn weight4(at: u32) -> vec4<f32> {
    let pairs = weight[at];
    return vec4<f32>(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}
