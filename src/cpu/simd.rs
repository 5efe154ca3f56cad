//! Running a loop with the widest vectors that this processor has, and the functions that such loops need.

use rten_simd::{Isa, SimdOp};

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

/// `e^x` to 2 ulp; 0 below −87.3 (where f32 would be subnormal), the largest power below infinity above 88.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // x = n ln 2 + r. Adding 1.5 · 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few enough bits that its product with n is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.336_54, 88.376_26);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    // e^r on ±ln 2 / 2: the minimax polynomial of Cephes.
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // 2^n, by its exponent bits.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.336_54 { 0.0 } else { p * power }
}

/// `x / (1 + e^−x)`.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
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

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what a ulp is about")]
    fn exp_is_within_two_ulp() {
        let numbers: Vec<f32> = (-873_000..=883_000).map(|i| i as f32 * 1e-4).collect();
        let mut answers = numbers.clone();
        vectorised(|| answers.iter_mut().for_each(|x| *x = exp(*x)));
        for (&x, &got) in numbers.iter().zip(&answers) {
            let wanted = f64::from(x).exp();
            let ulp = f64::from((wanted as f32).next_up()) - f64::from(wanted as f32);
            let error = (f64::from(got) - wanted).abs() / ulp;
            assert!(error <= 2.0, "exp({x}) = {got:e}, wanted {wanted:e}: {error} ulp");
        }
    }

    #[test]
    fn exp_has_sound_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(1e30).is_finite() && exp(1e30) > 2e38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn silu_keeps_its_tails() {
        assert_eq!(silu(0.0), 0.0);
        assert_eq!(silu(100.0), 100.0);
        assert!(silu(-100.0).abs() < 1e-30 && silu(-1e30).abs() < 1e-8);
    }
}
