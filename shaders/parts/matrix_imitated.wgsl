// Squares of parts/matrix_*.wgsl where there are no matrix units, for tests: a subgroup is LANES threads in a row, ROW_LANES of them have a row of a
// sum, and each has of the factors what it needs for its numbers, as f32.

const COLS = SIDE / ROW_LANES; // of a sum, a thread's own
alias Left = array<f32, SIDE>; // its row
alias Right = array<f32, SIDE * COLS>; // its columns
alias Sum = array<f32, COLS>;

fn multiply_add(left: Left, right: Right, sum: Sum) -> Sum {
    var a = left;
    var b = right;
    var c = sum;
    for (var k = 0u; k < SIDE; k++) {
        for (var j = 0u; j < COLS; j++) {
            c[j] += a[k] * b[k * COLS + j];
        }
    }
    return c;
}

var<workgroup> exchange: array<f32, 256>;

// subgroupShuffleXor, for which all threads have to be there.
fn shuffle_xor(thread: u32, value: f32, mask: u32) -> f32 {
    exchange[thread] = value;
    workgroupBarrier();
    let other = exchange[thread ^ mask];
    workgroupBarrier();
    return other;
}

// subgroupAny, likewise.
fn any_of(thread: u32, value: bool) -> bool {
    exchange[thread] = f32(value);
    workgroupBarrier();
    var any = false;
    for (var i = 0u; i < LANES; i++) {
        any |= exchange[thread / LANES * LANES + i] > 0.0;
    }
    workgroupBarrier();
    return any;
}
