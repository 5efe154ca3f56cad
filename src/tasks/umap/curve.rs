//! How near is near: `1 / (1 + a d^2b)`, and the forces that follow from it.

/// The curve and its forces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    a: f32,
    b: f32,
}

impl Curve {
    /// The curve that is nearest to 1 up to `min_dist` and `exp(min_dist − d)` beyond it, for distances up to 3: least squares as in
    /// umap-learn, by Gauss and Newton with damping.
    #[expect(clippy::cast_possible_truncation, reason = "forces are f32")]
    pub(super) fn fit(min_dist: f64) -> Self {
        let points: Vec<(f64, f64)> = (1..300)
            .map(|i| f64::from(i) * 3.0 / 299.0)
            .map(|d| (d, if d < min_dist { 1.0 } else { (min_dist - d).exp() }))
            .collect();
        let error = |a: f64, b: f64| -> f64 {
            points
                .iter()
                .map(|&(d, y)| (1.0 / (1.0 + a * d.powf(2.0 * b)) - y).powi(2))
                .sum()
        };
        let (mut a, mut b, mut damping) = (1.0_f64, 1.0_f64, 1e-3);
        for _ in 0..100 {
            // Normal equations of the linearised curve.
            let (mut aa, mut ab, mut bb, mut ra, mut rb) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for &(d, y) in &points {
                let power = d.powf(2.0 * b);
                let f = 1.0 / (1.0 + a * power);
                let (da, db) = (-power * f * f, -2.0 * a * power * d.ln() * f * f);
                aa += da * da;
                ab += da * db;
                bb += db * db;
                ra += da * (y - f);
                rb += db * (y - f);
            }
            let (aa, bb) = (aa * (1.0 + damping), bb * (1.0 + damping));
            let determinant = aa * bb - ab * ab;
            let next = (a + (bb * ra - ab * rb) / determinant, b + (aa * rb - ab * ra) / determinant);
            if next.0 > 0.0 && next.1 > 0.0 && error(next.0, next.1) <= error(a, b) {
                (a, b) = next;
                damping /= 10.0;
            } else {
                damping *= 10.0;
            }
        }
        Self {
            a: a as f32,
            b: b as f32,
        }
    }

    /// The force along a difference that a neighbour has: towards it.
    pub(super) fn pull(self, [x, y]: [f32; 2]) -> f32 {
        let squared = x * x + y * y;
        if squared == 0.0 {
            return 0.0;
        }
        let power = power(squared, self.b);
        -2.0 * self.a * self.b * power / (squared * (1.0 + self.a * power))
    }

    /// The forces along differences that any other cells have: away from them.
    pub(super) fn pushes<const N: usize>(self, differences: [[f32; 2]; N]) -> [f32; N] {
        // Eight at once, which compilers turn into vectors.
        const { assert!(N <= 8, "more than one vector") };
        let mut squared = [1.0; 8];
        for (squared, [x, y]) in squared.iter_mut().zip(differences) {
            *squared = x * x + y * y;
        }
        let mut forces = [0.0; 8];
        for i in 0..8 {
            forces[i] = 2.0 * self.b / ((0.001 + squared[i]) * (1.0 + self.a * power(squared[i], self.b)));
        }
        std::array::from_fn(|i| forces[i])
    }
}

/// `x^b` to 1e-5 for x of at least 0, without branches and calls; most of the time of a layout went into std's.
#[inline(always)]
#[expect(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "exponents of f32, in their bits"
)]
fn power(x: f32, b: f32) -> f32 {
    // x = 2^k m with m from sqrt(1/2) to sqrt(2), and log m = 2 artanh((m - 1) / (m + 1)).
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let bits = x.to_bits().wrapping_add(0x3f80_0000 - SQRT_HALF);
    let k = ((bits >> 23) as i32 - 127) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff) + SQRT_HALF);
    let t = (m - 1.0) / (m + 1.0);
    let squared = t * t;
    let series = 1.0 + squared * (1.0 / 3.0 + squared * (1.0 / 5.0 + squared * (1.0 / 7.0)));
    let log = k + 2.0 * std::f32::consts::LOG2_E * t * series;
    // 2^y = 2^n e^(r ln 2). Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    let y = (b * log).clamp(-126.0, 126.0);
    let shifted = y + 12_582_912.0;
    let r = (y - (shifted - 12_582_912.0)) * std::f32::consts::LN_2;
    let e = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0)))));
    f32::from_bits(e.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_std() {
        for b in [0.5, 0.895, 1.334, 2.0] {
            for x in (-60..60).map(|i| 1.37_f32.powi(i)) {
                let (got, wanted) = (power(x, b), x.powf(b));
                assert!((got - wanted).abs() <= 1e-5 * wanted, "{x}^{b} = {got}, wanted {wanted}");
            }
            assert!(power(0.0, b) < 1e-15 && power(f32::MAX, b).is_finite());
        }
    }

    #[test]
    fn fits_what_umap_learn_fits() {
        // umap.umap_.find_ab_params(1.0, min_dist) of umap-learn 0.5.
        for (min_dist, a, b) in [(0.1, 1.576_943_5, 0.895_060_8), (0.5, 0.583_030_0, 1.334_166_9)] {
            let curve = Curve::fit(min_dist);
            assert!(
                (curve.a - a).abs() < 2e-3 && (curve.b - b).abs() < 2e-3,
                "{min_dist}: {curve:?}"
            );
        }
    }
}
