//! How good probabilities are, on cells whose type is known.

use super::network::log_sum_exp;

/// Logits of some cells, and the types that they have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers<'a> {
    /// `[n_cells, n_types]`
    pub(super) logits: &'a [f64],
    /// `[n_cells]`
    pub(super) types: &'a [usize],
    pub(super) n_types: usize,
}

impl Answers<'_> {
    /// The most probable type of each cell and its probability, when logits are divided by `temperature`.
    pub(super) fn best(&self, temperature: f64) -> Vec<(usize, f64)> {
        let of_cell = |logits: &[f64]| {
            let scaled: Vec<f64> = logits.iter().map(|l| l / temperature).collect();
            let first = (0, f64::NEG_INFINITY);
            let (best, logit) = scaled
                .iter()
                .enumerate()
                .fold(first, |best, (i, &l)| if l > best.1 { (i, l) } else { best });
            (best, (logit - log_sum_exp(&scaled)).exp())
        };
        self.logits.chunks_exact(self.n_types).map(of_cell).collect()
    }

    /// The temperature with which the true types are most probable (Guo et al. 2017), by golden sections of its logarithm. Bounded, since
    /// nothing stops it where few cells are all called rightly.
    pub(super) fn temperature(&self) -> f64 {
        const BOUNDS: (f64, f64) = (0.5, 10.0);
        let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (BOUNDS.0.ln(), BOUNDS.1.ln());
        for _ in 0..40 {
            let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
            if self.surprise(left.exp()) <= self.surprise(right.exp()) {
                high = right;
            } else {
                low = left;
            }
        }
        (0.5 * (low + high)).exp()
    }

    /// `−Σ ln p` of the true types.
    fn surprise(&self, temperature: f64) -> f64 {
        let of_cells = self.logits.chunks_exact(self.n_types).zip(self.types);
        let of_cell = |(logits, &own): (&[f64], &usize)| {
            let scaled: Vec<f64> = logits.iter().map(|l| l / temperature).collect();
            log_sum_exp(&scaled) - scaled[own]
        };
        of_cells.map(of_cell).sum()
    }
}

/// The share of cells that are called rightly.
pub(super) fn accuracy(best: &[(usize, f64)], types: &[usize]) -> f64 {
    let n_right = best.iter().zip(types).filter(|((best, _), own)| best == *own).count();
    n_right as f64 / types.len().max(1) as f64
}

/// The mean over the types of `2 TP / (2 TP + FP + FN)`.
pub(super) fn macro_f1(best: &[(usize, f64)], types: &[usize], n_types: usize) -> f64 {
    let f1 = |kind: usize| {
        let n_called = best.iter().filter(|(best, _)| *best == kind).count();
        let n_own = types.iter().filter(|&&own| own == kind).count();
        let n_right = best
            .iter()
            .zip(types)
            .filter(|((best, _), own)| *best == kind && **own == kind)
            .count();
        2.0 * n_right as f64 / (n_called + n_own).max(1) as f64
    };
    (0..n_types).map(f1).sum::<f64>() / n_types.max(1) as f64
}

/// The expected calibration error: over ten bins of the probability, how far it is from the share that is right, by cells.
pub(super) fn calibration_error(best: &[(usize, f64)], types: &[usize]) -> f64 {
    const N_BINS: usize = 10;
    let mut gaps = [0.0; N_BINS];
    for (&(best, p), &own) in best.iter().zip(types) {
        // A probability of 1 belongs to the last bin.
        let bin = (1..N_BINS).take_while(|&bin| p >= bin as f64 / N_BINS as f64).count();
        gaps[bin] += p - f64::from(u8::from(best == own));
    }
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / types.len().max(1) as f64
}

/// A threshold, in thousandths, under which at most `share` of the probabilities are.
pub(super) fn threshold(best: &[(usize, f64)], share: f64) -> f64 {
    let mut probabilities: Vec<f64> = best.iter().map(|(_, p)| *p).collect();
    probabilities.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let place = (share * probabilities.len() as f64) as usize;
    let most = probabilities.get(place).copied().unwrap_or(0.0);
    (most * 1000.0).floor() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_counted_by_hand() {
        let best = [(0, 0.95), (0, 0.95), (1, 0.65), (1, 0.55), (0, 1.0)];
        let types = [0, 1, 1, 1, 0];
        assert_eq!(accuracy(&best, &types), 0.8);
        // Type 0: 2 right, 3 called, 2 there. Type 1: 2 right, 2 called, 3 there.
        assert!((macro_f1(&best, &types, 2) - 0.8).abs() < 1e-12);
        // Bins: 0.95 + 0.95 + 1 against 2 right; 0.65 against 1; 0.55 against 1.
        assert!((calibration_error(&best, &types) - (0.9 + 0.35 + 0.45) / 5.0).abs() < 1e-12);
    }

    #[test]
    fn a_threshold_takes_no_more_than_its_share() {
        let best: Vec<(usize, f64)> = (1..=100).map(|i| (0, f64::from(i) / 100.0 + 0.0004)).collect();
        let threshold = threshold(&best, 0.05);
        assert_eq!(threshold, 0.06);
        assert_eq!(best.iter().filter(|(_, p)| *p < threshold).count(), 5);
        assert_eq!(super::threshold(&best[50..55], 0.05), 0.51);
        assert_eq!(super::threshold(&[], 0.05), 0.0);
    }

    #[test]
    fn a_temperature_undoes_what_was_multiplied() {
        // 3 of 4 cells are right, so the best probability is 3/4 and the best logit ln 3.
        let logits = [4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0];
        let answers = Answers {
            logits: &logits,
            types: &[0, 0, 0, 1],
            n_types: 2,
        };
        let temperature = answers.temperature();
        assert!((temperature - 4.0 / 3.0_f64.ln()).abs() < 1e-6, "{temperature}");
        assert!(
            answers
                .best(temperature)
                .iter()
                .all(|&(best, p)| best == 0 && (p - 0.75).abs() < 1e-6)
        );
        // Where all are right, it goes no further than it may.
        let all_right = Answers {
            types: &[0; 4],
            ..answers
        };
        assert!((all_right.temperature() - 0.5).abs() < 1e-6);
    }
}
