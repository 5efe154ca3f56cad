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
        let power = squared.powf(self.b);
        -2.0 * self.a * self.b * power / (squared * (1.0 + self.a * power))
    }

    /// The force along a difference that any other cell has: away from it.
    pub(super) fn push(self, [x, y]: [f32; 2]) -> f32 {
        let squared = x * x + y * y;
        2.0 * self.b / ((0.001 + squared) * (1.0 + self.a * squared.powf(self.b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
