// max(0, x), except that what is not a number and -infinity, an overflow, stay what they are. By the bits, since a compiler may make max of any
// comparison, as NVIDIA's does, and max makes 0 of what is not a number.
fn relu(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    // Negative, and the exponent is a number's.
    return select(x, 0.0, bits >= 0x80000000u && bits < 0xff800000u);
}
