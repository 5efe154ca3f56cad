//! Running a loop with the widest vectors that this processor has, and the functions that such loops need.

use rten_simd::ops::{BitOps, FloatOps, IntOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};

/// Runs `f` compiled for the best instruction set at hand: what is inlined into it is vectorised for that.
#[inline]
pub(super) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    struct Op<F>(F);
    impl<R, F: FnOnce() -> R> SimdOp for Op<F> {
        type Output = R;
        #[inline(always)]
        fn eval<I: Isa>(self, _isa: I) -> R {
            (self.0)()
        }
    }
    Op(f).dispatch()
}

/// `e^x` to 2 ulp, for x from −86.9 to 88; beyond these ends it stays what it is there (2e-38, 2e38).
#[inline(always)]
pub(super) fn exp<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let (ops, int) = (isa.f32(), isa.i32());
    let splat = |x| ops.splat(x);
    // x = n ln 2 + r. Adding 1.5 · 2^23 rounds to a whole number and leaves it in the low bits.
    let round = splat(12_582_912.0);
    let x = ops.min(ops.max(x, splat(-86.9)), splat(88.3));
    let shifted = ops.mul_add(x, splat(std::f32::consts::LOG2_E), round);
    let n = ops.sub(shifted, round);
    // ln 2 in two parts; the first has few enough bits that its product with n is exact.
    let r = ops.mul_add(n, splat(-0.693_359_4), x);
    let r = ops.mul_add(n, splat(2.121_944_4e-4), r);
    // e^r on ±ln 2 / 2: the minimax polynomial of Cephes.
    let p = splat(1.987_569_1e-4);
    let p = ops.mul_add(p, r, splat(1.398_199_9e-3));
    let p = ops.mul_add(p, r, splat(8.333_452e-3));
    let p = ops.mul_add(p, r, splat(4.166_579_6e-2));
    let p = ops.mul_add(p, r, splat(1.666_666_5e-1));
    let p = ops.mul_add(p, r, splat(0.5));
    let p = ops.mul_add(p, ops.mul(r, r), r);
    let p = ops.add(p, ops.one());
    // Times 2^n: n added to the exponent, which lies between −126 and 127 with these ends.
    let n: I::I32 = shifted.reinterpret_cast();
    let bits: I::I32 = p.reinterpret_cast();
    int.add(bits, int.shift_left::<23>(n)).reinterpret_cast()
}

/// `2^x` to 3 ulp, for x from −125 to 0; below that it stays what it is there (2e-38).
#[inline(always)]
pub(super) fn exp2<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let (ops, int) = (isa.f32(), isa.i32());
    let splat = |x| ops.splat(x);
    let round = splat(12_582_912.0);
    let x = ops.max(x, splat(-125.0));
    let shifted = ops.add(x, round);
    let r = ops.sub(x, ops.sub(shifted, round));
    // 2^r on ±1/2: minimax for the relative error, which is 1e-7, with the right value and slope at 0.
    let p = splat(1.330_060_7e-3);
    let p = ops.mul_add(p, r, splat(9.669_691e-3));
    let p = ops.mul_add(p, r, splat(5.550_558_5e-2));
    let p = ops.mul_add(p, r, splat(2.402_228_3e-1));
    let p = ops.mul_add(p, r, splat(std::f32::consts::LN_2));
    let p = ops.mul_add(p, r, ops.one());
    let n: I::I32 = shifted.reinterpret_cast();
    let bits: I::I32 = p.reinterpret_cast();
    int.add(bits, int.shift_left::<23>(n)).reinterpret_cast()
}

/// `x / (1 + e^−x)`.
#[inline(always)]
pub(super) fn silu<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let ops = isa.f32();
    ops.div(x, ops.add(ops.one(), exp(isa, ops.neg(x))))
}

/// `Σ f(x)` in 16 partial sums, so that it vectorises; the last numbers one by one.
#[inline(always)]
pub(super) fn sum(numbers: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f(x);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&x| f(x)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rten_simd::SimdUnaryOp;

    struct Exp;
    struct Exp2;

    impl SimdUnaryOp<f32> for Exp2 {
        #[inline(always)]
        fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
            exp2(isa, x)
        }
    }

    struct Silu;

    impl SimdUnaryOp<f32> for Silu {
        #[inline(always)]
        fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
            silu(isa, x)
        }
    }

    impl SimdUnaryOp<f32> for Exp {
        #[inline(always)]
        fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
            exp(isa, x)
        }
    }

    fn apply(op: &impl SimdUnaryOp<f32>, x: f32) -> f32 {
        let mut x = [x];
        op.map_mut(&mut x);
        x[0]
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what a ulp is about")]
    fn exp_is_within_two_ulp() {
        let numbers: Vec<f32> = (-869_000..=883_000).map(|i| i as f32 * 1e-4).collect();
        let mut answers = numbers.clone();
        Exp.map_mut(&mut answers);
        for (&x, &got) in numbers.iter().zip(&answers) {
            let wanted = f64::from(x).exp();
            let ulp = f64::from((wanted as f32).next_up()) - f64::from(wanted as f32);
            let error = (f64::from(got) - wanted).abs() / ulp;
            assert!(error <= 2.0, "exp({x}) = {got:e}, wanted {wanted:e}: {error} ulp");
        }
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what a ulp is about")]
    fn exp2_is_within_three_ulp() {
        let numbers: Vec<f32> = (-1_250_000..=0).map(|i| i as f32 * 1e-4).collect();
        let mut answers = numbers.clone();
        Exp2.map_mut(&mut answers);
        for (&x, &got) in numbers.iter().zip(&answers) {
            let wanted = f64::from(x).exp2();
            let ulp = f64::from((wanted as f32).next_up()) - f64::from(wanted as f32);
            let error = (f64::from(got) - wanted).abs() / ulp;
            assert!(error <= 3.0, "exp2({x}) = {got:e}, wanted {wanted:e}: {error} ulp");
        }
        assert_eq!(apply(&Exp2, 0.0), 1.0);
        assert!(apply(&Exp2, f32::NEG_INFINITY) < 3e-38 && apply(&Exp2, f32::NEG_INFINITY) > 0.0);
    }

    #[test]
    fn exp_has_sound_ends() {
        assert_eq!(apply(&Exp, 0.0), 1.0);
        assert!(apply(&Exp, -1e30) < 2e-38 && apply(&Exp, f32::NEG_INFINITY) < 2e-38);
        assert!(apply(&Exp, 1e30).is_finite() && apply(&Exp, 1e30) > 2e38);
    }

    #[test]
    fn silu_keeps_its_tails() {
        assert_eq!(apply(&Silu, 0.0), 0.0);
        assert_eq!(apply(&Silu, 100.0), 100.0);
        assert!(apply(&Silu, -100.0).abs() < 1e-30 && apply(&Silu, -1e30).abs() < 1e-7);
    }
}
