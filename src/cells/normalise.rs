//! The normalisation that a model was trained with, from whatever scale the values of a file have: spec 4.2.

use super::values::{ValueKind, Values};
use serde::{Deserialize, Serialize};

/// Two sums are the same when they differ by less: genes that nobody expresses much may have been taken away after the normalisation.
pub(super) const SAME_SUM: f64 = 0.01;

/// The normalisation that a model was trained with: `preprocess` in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// What the counts of a cell are scaled to sum up to, over all genes of its file.
    pub target_sum: f64,
    /// Whether `log1p` follows.
    pub log1p: bool,
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            target_sum: 10_000.0,
            log1p: true,
        }
    }
}

/// What is done to the values of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// The counts of a cell are scaled to the model's sum, then `log1p`.
    Normalise,
    /// Nothing: they are on the model's scale already, or on one that the file does not tell.
    AsTheyAre,
    /// The logarithm is undone, the model's sum takes the place of the file's, and the model's logarithm follows.
    Rescale,
}

/// The arithmetic of a [`Conversion`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arithmetic {
    pub(super) conversion: Conversion,
    /// ln of the base of the logarithm that is undone first.
    ln_base: Option<f64>,
    /// Counts came under that logarithm, and are whole.
    whole: bool,
    /// What undone values are multiplied with; `None`: the model's sum over the cell's.
    factor: Option<f64>,
    preprocess: Preprocess,
}

impl Preprocess {
    /// What brings values of this kind to the model.
    ///
    /// # Errors
    /// Why nothing does.
    pub(super) fn arithmetic(&self, values: &Values) -> Result<Arithmetic, String> {
        let same_sum = |sum: f64| (sum / self.target_sum - 1.0).abs() <= SAME_SUM;
        let counts = Arithmetic {
            conversion: Conversion::Normalise,
            ln_base: None,
            whole: false,
            factor: None,
            preprocess: *self,
        };
        let ln_base = values.log_base.map(f64::ln);
        match (values.kind, ln_base, values.target_sum) {
            (ValueKind::Counts | ValueKind::EstimatedCounts | ValueKind::Normalised, ..) => Ok(counts),
            (ValueKind::LogCounts, ..) => Ok(Arithmetic {
                ln_base: ln_base.or(Some(1.0)),
                whole: true,
                ..counts
            }),
            (ValueKind::LogNormalised, Some(1.0), Some(sum)) if self.log1p && same_sum(sum) => Ok(Arithmetic {
                conversion: Conversion::AsTheyAre,
                ..counts
            }),
            (ValueKind::LogNormalised, Some(ln_base), Some(sum)) => Ok(Arithmetic {
                conversion: Conversion::Rescale,
                ln_base: Some(ln_base),
                factor: Some(if same_sum(sum) { 1.0 } else { self.target_sum / sum }),
                ..counts
            }),
            (ValueKind::LogNormalised, ..) if !self.log1p => Err(
                "log-normalised values of unknown scale, but the model was trained on values without log1p; wanted counts"
                    .to_owned(),
            ),
            // Only the base is known.
            (ValueKind::LogNormalised, Some(ln_base), None) if ln_base != 1.0 => Ok(Arithmetic {
                conversion: Conversion::Rescale,
                ln_base: Some(ln_base),
                factor: Some(1.0),
                ..counts
            }),
            (ValueKind::LogNormalised, ..) => Ok(Arithmetic {
                conversion: Conversion::AsTheyAre,
                ..counts
            }),
        }
    }
}

impl Arithmetic {
    /// What is added up where two columns are one gene, and over all genes of a cell.
    pub(super) fn amount(&self, value: f32) -> f64 {
        let value = f64::from(value);
        match self.ln_base {
            None => value,
            Some(ln_base) => {
                let amount = (value * ln_base).exp_m1();
                if self.whole { amount.round() } else { amount }
            }
        }
    }

    /// Two columns of one gene.
    pub(super) fn add(&self, a: f64, b: f64) -> f64 {
        if self.conversion == Conversion::AsTheyAre {
            // They are added as counts are, not as logarithms.
            (a.exp_m1() + b.exp_m1()).ln_1p()
        } else {
            a + b
        }
    }

    /// Turns one cell into what the model reads. `sum` is the cell's sum over all genes of the file, not only those in `amounts`.
    pub(super) fn finish(&self, sum: f64, amounts: &mut [f64]) {
        if self.conversion == Conversion::AsTheyAre {
            return;
        }
        // A cell without counts has no values to scale, so the division is never by zero where it matters.
        let scale = self.factor.unwrap_or(self.preprocess.target_sum / sum);
        // Most counts of a cell are a few small numbers, whose logarithms are needed again and again.
        let mut last = [(0.0, 0.0); 16];
        for amount in amounts {
            let (from, to) = &mut last[(amount.to_bits() >> 50 & 15) as usize];
            if *from != *amount {
                let scaled = *amount * scale;
                (*from, *to) = (*amount, if self.preprocess.log1p { scaled.ln_1p() } else { scaled });
            }
            *amount = *to;
        }
    }
}
