//! The network of a head and how it learns: plain loops in f64, the same answer everywhere.
//!
//! For a cell with features z: `a = W₁ z + b₁`, `h = GELU(a)`, `l = W₂ h + b₂`, `p = softmax(l)`. The loss of some cells of types c with
//! weights w is `−Σ w ln p_c / Σ w`. Backwards, with `w` standing for `w / Σ w`:
//! `∂l = w (p − onehot c)`, `∂W₂ = ∂l hᵀ`, `∂a = W₂ᵀ ∂l · GELU′(a)`, `∂W₁ = ∂a zᵀ`, and the biases as the sums of `∂l` and `∂a`.

use super::super::random::Random;
use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::ops::Range;

/// Sizes of a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) n_in: usize,
    pub(super) n_hidden: usize,
    pub(super) n_out: usize,
}

/// A network. Weights lie by inputs, so that the inner loops run over vectors: `W₁ᵀ [in, hidden]`, `b₁`, `W₂ᵀ [hidden, out]`, `b₂`.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) sizes: Sizes,
    pub(super) parameters: Vec<f64>,
}

/// Cells to learn from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    /// `[n_cells, n_in]`
    pub(super) features: &'a [f64],
    /// `[n_cells]`
    pub(super) types: &'a [usize],
    /// `[n_out]`: what a cell of a type counts.
    pub(super) weights: &'a [f64],
}

/// What a network makes of one cell.
struct Answer {
    /// `[hidden]`, before GELU.
    a: Vec<f64>,
    /// `[hidden]`
    h: Vec<f64>,
    /// `[out]`
    logits: Vec<f64>,
}

impl Sizes {
    /// Where `W₁ᵀ`, `b₁`, `W₂ᵀ` and `b₂` are.
    pub(super) fn parts(self) -> [Range<usize>; 4] {
        let mut start = 0;
        [
            self.n_in * self.n_hidden,
            self.n_hidden,
            self.n_hidden * self.n_out,
            self.n_out,
        ]
        .map(|len| {
            start += len;
            start - len..start
        })
    }
}

impl Network {
    /// Small random weights, so that each layer keeps the variance of its input; no bias.
    pub(super) fn random(sizes: Sizes, random: &mut Random) -> Self {
        let [w1, b1, w2, b2] = sizes.parts();
        let mut uniform = |n: usize, fan_in: usize| -> Vec<f64> {
            let deviation = (fan_in.max(1) as f64).sqrt().recip();
            (0..n).map(|_| deviation * random.uniform()).collect()
        };
        let parameters = [
            uniform(w1.len(), sizes.n_in),
            vec![0.0; b1.len()],
            uniform(w2.len(), sizes.n_hidden),
            vec![0.0; b2.len()],
        ];
        Self {
            sizes,
            parameters: parameters.concat(),
        }
    }

    /// `[n_cells, out]`
    pub(super) fn logits(&self, features: &[f64]) -> Vec<f64> {
        let cells = features.chunks_exact(self.sizes.n_in);
        cells.flat_map(|features| self.answer(features).logits).collect()
    }

    /// The loss of the cells, and its gradient.
    pub(super) fn loss(&self, cells: Cells<'_>) -> f64 {
        let logits = self.logits(cells.features);
        let of_cells = logits.chunks_exact(self.sizes.n_out).zip(cells.types);
        let sum: f64 = of_cells
            .map(|(logits, &own)| cells.weights[own] * (log_sum_exp(logits) - logits[own]))
            .sum();
        sum / total_weight(cells)
    }

    /// The gradient of [`Network::loss`] with respect to the parameters.
    pub(super) fn gradient(&self, cells: Cells<'_>) -> Vec<f64> {
        let Sizes { n_in, n_hidden, n_out } = self.sizes;
        let [w1, b1, w2, b2] = self.sizes.parts();
        let mut gradient = vec![0.0; self.parameters.len()];
        let total = total_weight(cells);
        for (features, &own) in cells.features.chunks_exact(n_in).zip(cells.types) {
            let Answer { a, h, logits } = self.answer(features);
            let norm = log_sum_exp(&logits);
            let weight = cells.weights[own] / total;
            let mut of_logits: Vec<f64> = logits.iter().map(|l| weight * (l - norm).exp()).collect();
            of_logits[own] -= weight;
            add(&mut gradient[b2.clone()], 1.0, &of_logits);
            let mut of_a = vec![0.0; n_hidden];
            for unit in 0..n_hidden {
                let row = w2.start + unit * n_out..w2.start + (unit + 1) * n_out;
                add(&mut gradient[row.clone()], h[unit], &of_logits);
                let of_h: f64 = self.parameters[row].iter().zip(&of_logits).map(|(w, g)| w * g).sum();
                of_a[unit] = of_h * gelu_slope(a[unit]);
            }
            add(&mut gradient[b1.clone()], 1.0, &of_a);
            for (row, &x) in gradient[w1.clone()].chunks_exact_mut(n_hidden).zip(features) {
                add(row, x, &of_a);
            }
        }
        gradient
    }

    fn answer(&self, features: &[f64]) -> Answer {
        let Sizes { n_hidden, n_out, .. } = self.sizes;
        let [w1, b1, w2, b2] = self.sizes.parts();
        let mut a = self.parameters[b1].to_vec();
        for (row, &x) in self.parameters[w1].chunks_exact(n_hidden).zip(features) {
            add(&mut a, x, row);
        }
        let h: Vec<f64> = a.iter().map(|&a| a * normal(a)).collect();
        let mut logits = self.parameters[b2].to_vec();
        for (row, &x) in self.parameters[w2].chunks_exact(n_out).zip(&h) {
            add(&mut logits, x, row);
        }
        Answer { a, h, logits }
    }
}

/// `AdamW` (Loshchilov and Hutter 2019): Adam, and apart from it a decay of the weights.
pub(super) struct AdamW {
    /// Means of the gradient and of its square, and how many went into them.
    first: Vec<f64>,
    second: Vec<f64>,
    n_steps: i32,
}

impl AdamW {
    const BETAS: (f64, f64) = (0.9, 0.999);
    const EPS: f64 = 1e-8;

    pub(super) fn new(n_parameters: usize) -> Self {
        Self {
            first: vec![0.0; n_parameters],
            second: vec![0.0; n_parameters],
            n_steps: 0,
        }
    }

    /// One step down the gradient.
    pub(super) fn step(&mut self, parameters: &mut [f64], gradient: &[f64], rate: f64, decay: f64) {
        self.n_steps += 1;
        let (beta_1, beta_2) = Self::BETAS;
        let corrections = (1.0 - beta_1.powi(self.n_steps), 1.0 - beta_2.powi(self.n_steps));
        let means = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, &g), (first, second)) in parameters.iter_mut().zip(gradient).zip(means) {
            *first = beta_1 * *first + (1.0 - beta_1) * g;
            *second = beta_2 * *second + (1.0 - beta_2) * g * g;
            let step = *first / corrections.0 / ((*second / corrections.1).sqrt() + Self::EPS);
            *parameter -= rate * (step + decay * *parameter);
        }
    }
}

fn total_weight(cells: Cells<'_>) -> f64 {
    cells.types.iter().map(|&own| cells.weights[own]).sum()
}

/// `y += factor · x`
fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// `ln Σ eˣ`
pub(super) fn log_sum_exp(x: &[f64]) -> f64 {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + x.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// The normal distribution's Φ; `GELU(a) = a Φ(a)`.
fn normal(a: f64) -> f64 {
    0.5 * (1.0 + libm::erf(a * FRAC_1_SQRT_2))
}

/// `Φ(a) + a φ(a)`
fn gelu_slope(a: f64) -> f64 {
    normal(a) + a * (-0.5 * a * a).exp() / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let sizes = Sizes {
            n_in: 5,
            n_hidden: 4,
            n_out: 3,
        };
        let mut random = Random::new(7);
        let mut network = Network::random(sizes, &mut random);
        let mut numbers = |n: usize| -> Vec<f64> { (0..n).map(|_| random.below(2_000) as f64 / 500.0 - 2.0).collect() };
        network.parameters = numbers(network.parameters.len());
        let features = numbers(6 * 5);
        let cells = Cells {
            features: &features,
            types: &[0, 1, 2, 2, 0, 1],
            weights: &[0.5, 1.0, 3.0],
        };
        let gradient = network.gradient(cells);
        for (i, g) in gradient.into_iter().enumerate() {
            let at = |shift: f64| {
                let mut shifted = network.clone();
                shifted.parameters[i] += shift;
                shifted.loss(cells)
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (g - numeric).abs() < 1e-8 * (1.0 + g.abs()),
                "parameter {i}: {g} and {numeric}"
            );
        }
    }

    /// The first step of Adam is as long as the rate, whatever the gradient.
    #[test]
    fn a_step_goes_down_and_weights_decay() {
        let mut parameters = vec![1.0, 1.0, 1.0];
        AdamW::new(3).step(&mut parameters, &[5.0, -0.01, 0.0], 0.1, 0.5);
        for (found, wanted) in parameters.into_iter().zip([0.85, 1.05, 0.95]) {
            assert!((found - wanted).abs() < 1e-6, "{found} and {wanted}");
        }
    }
}
