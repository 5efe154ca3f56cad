//! Counts or log-normalised values in; log-normalised values out: spec 4.2.

use serde::{Deserialize, Serialize};

/// A log-normalised value is below this: `log1p` of 10,000 is 9.2, of a million 13.8.
pub const MAX_LOG_VALUE: f32 = 20.0;

/// How far from a whole number a count may be, for files that hold counts as a result of arithmetic.
const COUNT_TOLERANCE: f32 = 1e-3;

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

/// What the values of a matrix are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// Whole numbers from 0 on.
    Counts,
    /// `log1p` of scaled counts already: from 0 to [`MAX_LOG_VALUE`], not whole.
    LogNormalised,
}

/// Looks at values one by one, to tell in the end what they are.
#[derive(Debug)]
pub(crate) struct Judge<P> {
    /// The first value that is not whole.
    fraction: Option<f32>,
    /// The first value that is too large for a logarithm, and where it is.
    large: Option<(f32, P)>,
}

impl<P> Default for Judge<P> {
    fn default() -> Self {
        Self {
            fraction: None,
            large: None,
        }
    }
}

impl<P> Judge<P> {
    /// Takes the next value into account; `place` is where it is.
    ///
    /// # Errors
    /// What is wrong with it, when it can be neither a count nor log-normalised.
    pub(crate) fn see(&mut self, value: f32, place: P) -> Result<(), String> {
        check_number(value)?;
        if self.fraction.is_none() && !is_whole(value) {
            self.fraction = Some(value);
        }
        if self.large.is_none() && value >= MAX_LOG_VALUE {
            self.large = Some((value, place));
        }
        Ok(())
    }

    /// Counts when all are whole, log-normalised when all are small.
    ///
    /// # Errors
    /// The place of a value that is neither, and what is wrong with it.
    pub(crate) fn verdict(self) -> Result<ValueKind, (P, String)> {
        match (self.fraction, self.large) {
            (None, _) => Ok(ValueKind::Counts),
            (Some(_), None) => Ok(ValueKind::LogNormalised),
            (Some(fraction), Some((large, place))) => {
                let found = format!("{large} is too large for a log-normalised value, and {fraction} is no whole number");
                Err((
                    place,
                    format!("{found}; wanted counts, or log-normalised values below {MAX_LOG_VALUE}"),
                ))
            }
        }
    }
}

fn is_whole(value: f32) -> bool {
    (value - value.round()).abs() <= COUNT_TOLERANCE
}

impl ValueKind {
    /// Holds every single value to what the sample said.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(self, value: f32) -> Result<(), String> {
        check_number(value)?;
        match self {
            Self::Counts if !is_whole(value) => Err(format!("{value} is no count, but the values before it are")),
            Self::LogNormalised if value >= MAX_LOG_VALUE => Err(format!(
                "{value} is no log-normalised value (below {MAX_LOG_VALUE}), but the values before it are"
            )),
            _ => Ok(()),
        }
    }
}

/// Neither counts nor log-normalised values are ever these.
fn check_number(value: f32) -> Result<(), String> {
    if value.is_nan() || value.is_infinite() {
        return Err(format!("{value} is not a finite number"));
    }
    if value < 0.0 {
        return Err(format!(
            "{value} is negative: scaled data; wanted counts or log-normalised values"
        ));
    }
    Ok(())
}

impl Preprocess {
    /// Turns one cell into what the model reads. `sum` is the cell's sum over all genes of the file, not only those in `values`.
    pub(crate) fn apply(&self, kind: ValueKind, sum: f64, values: &mut [f64]) {
        if kind == ValueKind::LogNormalised {
            return;
        }
        // A cell without counts has no values to scale, so the division is never by zero where it matters.
        let scale = self.target_sum / sum;
        // Most counts of a cell are a few small numbers, whose logarithms are needed again and again.
        let mut last = [(0.0, 0.0); 16];
        for value in values {
            let (from, to) = &mut last[(value.to_bits() >> 50 & 15) as usize];
            if *from != *value {
                let scaled = *value * scale;
                (*from, *to) = (*value, if self.log1p { scaled.ln_1p() } else { scaled });
            }
            *value = *to;
        }
    }
}
