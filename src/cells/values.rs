//! What the values of a matrix are: counts, or what was made of them.

use super::{CellMatrix, Conversion};
use crate::error::{Error, Result};
use crate::order::insert;
use serde::Serialize;
use std::f64::consts::{E, LN_2, LN_10};
use std::ops::Range;

/// A log-normalised value is below this: `log1p` of 10,000 is 9.2, of a million 13.8.
pub const MAX_LOG_VALUE: f32 = 20.0;

/// How far from a whole number a count may be, for files that hold counts as a result of arithmetic.
const COUNT_TOLERANCE: f32 = 1e-3;
/// How far from a whole number an estimated count mostly is.
const NEAR: f32 = 0.1;
/// The share of values that are [`NEAR`] a whole number above 0 in estimated counts; in other numbers it is one of five.
const MIN_NEAR: f64 = 0.75;
/// Where fewer than one value in this many is not whole, it is a mistake and no estimate.
const MIN_FRACTIONS: usize = 100;
/// With fewer values no share says anything.
const MIN_VALUES: usize = 20;
/// With fewer cells equal sums may be chance.
const MIN_CELLS: usize = 5;
/// Cells have the same sum when nine of ten are no further apart than this share of the median.
const SPREAD: f64 = 0.01;

/// How many cells are looked at to tell what the values are.
const N_SAMPLED_CELLS: usize = 1_000;
/// They are taken in this many runs spread over the file, since single rows would cost a compressed chunk each.
const N_SAMPLED_RUNS: usize = 8;

/// What the values of a matrix are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// Whole numbers from 0 on.
    Counts,
    /// Counts after a correction or by an estimate (`SoupX`, `DecontX`, alevin, RSEM): most are near a whole number.
    EstimatedCounts,
    /// The logarithm of counts and 1, not normalised.
    LogCounts,
    /// Counts scaled to one sum for all cells (CPM, TPM), without a logarithm.
    Normalised,
    /// The logarithm of scaled counts and 1: from 0 to [`MAX_LOG_VALUE`], not whole.
    LogNormalised,
}

impl ValueKind {
    /// Whether the values are counts, whole or estimated.
    #[must_use]
    pub const fn is_counts(self) -> bool {
        matches!(self, Self::Counts | Self::EstimatedCounts)
    }

    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::EstimatedCounts => "estimated counts",
            Self::LogCounts => "logarithms of counts",
            Self::Normalised => "normalised values without logarithm",
            Self::LogNormalised => "log-normalised values",
        }
    }
}

/// What the values are, and their scale as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Values {
    pub(super) kind: ValueKind,
    pub(super) log_base: Option<f64>,
    /// What the cells sum up to, the logarithm undone.
    pub(super) target_sum: Option<f64>,
}

/// What was found out about the values of a matrix from about 1,000 cells, and what is done with them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueReport {
    /// What they are.
    pub kind: ValueKind,
    /// The base of the logarithm: 2.718…, 2 or 10; `None` where there is none or it cannot be told.
    pub log_base: Option<f64>,
    /// What each cell sums up to, the logarithm undone; `None` where cells differ, as counts do.
    pub target_sum: Option<f64>,
    /// What is done to them.
    pub conversion: Conversion,
    /// How many cells were looked at.
    pub n_sampled_cells: usize,
    /// How many of these have no value above 0; they get an empty answer.
    pub n_empty_cells: usize,
    /// Median sum of the values of a cell, those without any left out.
    pub median_sum: f64,
    /// Median number of genes above 0 of a cell, those without any left out.
    pub median_genes: usize,
    /// The same in words.
    pub text: String,
}

/// What is summed up per cell, and could be the same for all: the values, and what each logarithm would have been of.
const BASES: [(Option<f64>, f64); 4] = [(None, 1.0), (Some(E), 1.0), (Some(2.0), LN_2), (Some(10.0), LN_10)];

/// A sum that all cells have.
#[derive(Debug, Clone, Copy)]
struct Same {
    /// Of [`BASES`].
    base: usize,
    sum: f64,
    /// How far nine of ten cells are apart, over their median.
    spread: f64,
}

/// Looks at values one by one, to tell in the end what they are.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) n_cells: usize,
    n_values: usize,
    n_near: usize,
    largest: f32,
    n_fractions: usize,
    /// The first value that is not whole, and its cell and gene.
    fraction: Option<(f32, usize, u32)>,
    /// The first value that is too large for a logarithm, and its cell and gene.
    large: Option<(f32, usize, u32)>,
    /// For each of [`BASES`] the sums of the cells that are not empty.
    sums: [Vec<f64>; 4],
    /// For each logarithm how many values are such of whole numbers; `None` when some are not.
    of_counts: [Option<usize>; 4],
    n_genes: Vec<usize>,
}

impl Sample {
    /// Looks at about [`N_SAMPLED_CELLS`] cells, all of a small file. The inner error is about the values, the outer about the file.
    pub(super) fn take(matrix: &dyn CellMatrix) -> Result<Result<Self>> {
        let mut sample = Self {
            of_counts: [Some(0); 4],
            ..Self::default()
        };
        for cells in sampled_cells(matrix.n_cells()) {
            let rows = matrix.read_rows(cells.clone())?;
            for (row, cell) in cells.enumerate() {
                let (columns, values) = rows.row(row);
                if let Err((column, problem)) = sample.see(cell, columns, values) {
                    return Ok(Err(wrong_value(matrix, cell, column, problem)));
                }
            }
        }
        Ok(Ok(sample))
    }

    /// Takes the next cell into account.
    fn see(&mut self, cell: usize, columns: &[u32], values: &[f32]) -> Result<(), (u32, String)> {
        let (mut sums, mut n_genes) = ([0.0; 4], 0);
        for (&column, &value) in columns.iter().zip(values) {
            check_number(value).map_err(|problem| (column, problem))?;
            if value == 0.0 {
                continue;
            }
            n_genes += 1;
            self.n_values += 1;
            self.largest = self.largest.max(value);
            self.n_near += usize::from(value >= 0.5 && (value - value.round()).abs() <= NEAR);
            if !is_whole(value) {
                self.n_fractions += 1;
                self.fraction.get_or_insert((value, cell, column));
            }
            if self.large.is_none() && value >= MAX_LOG_VALUE {
                self.large = Some((value, cell, column));
            }
            sums[0] += f64::from(value);
            if self.large.is_none() {
                for (i, (_, ln_base)) in BASES.iter().enumerate().skip(1) {
                    let amount = (f64::from(value) * ln_base).exp_m1();
                    sums[i] += amount;
                    self.of_counts[i] = match (self.of_counts[i], is_log_of_count(amount)) {
                        (Some(n), Some(true)) => Some(n + 1),
                        (n, None) => n,
                        (_, Some(false)) | (None, _) => None,
                    };
                }
            }
        }
        self.n_cells += 1;
        if n_genes > 0 {
            self.n_genes.push(n_genes);
            for (all, sum) in self.sums.iter_mut().zip(sums) {
                all.push(sum);
            }
        }
        Ok(())
    }

    /// The sums of the values of the sampled cells; none of empty ones.
    pub(super) fn cell_sums(&self) -> &[f64] {
        &self.sums[0]
    }

    /// What the values are. `log_base` is what the file says about its logarithm; `target_sum` is the model's.
    ///
    /// # Errors
    /// The cell and gene of a value that does not fit, and what is wrong with it.
    pub(super) fn verdict(&self, log_base: Option<f64>, target_sum: Option<f64>) -> Result<Values, (usize, u32, String)> {
        let of = |kind, log_base, target_sum| {
            Ok(Values {
                kind,
                log_base,
                target_sum,
            })
        };
        let Some((fraction, cell, column)) = self.fraction else {
            return of(ValueKind::Counts, None, None);
        };
        if self.n_fractions * MIN_FRACTIONS < self.n_values {
            let problem = format!(
                "{fraction} is no whole number, but nearly all other values are; wanted counts, or log-normalised values"
            );
            return Err((cell, column, problem));
        }
        let is_near = self.n_values >= MIN_VALUES && self.n_near as f64 >= MIN_NEAR * self.n_values as f64;
        let same = self.same_sums();
        if let Some((large, cell, column)) = self.large {
            return match same.iter().find(|same| same.base == 0) {
                Some(&Same { sum, .. }) => of(ValueKind::Normalised, None, Some(sum)),
                _ if is_near => of(ValueKind::EstimatedCounts, None, None),
                _ => {
                    let sums = quantiles(&self.sums[0]);
                    let problem = format!(
                        "{large} is too large for a log-normalised value, and {fraction} is no whole number; nor do the cells have one sum, as \
                         normalised ones do: {:.4} to {:.4}; wanted counts, or log-normalised values below {MAX_LOG_VALUE}",
                        sums[0], sums[2]
                    );
                    Err((cell, column, problem))
                }
            };
        }
        let logged = |i: usize, sum| of(ValueKind::LogNormalised, BASES[i].0, Some(sum));
        let said = || {
            same.iter()
                .find(|same| log_base.is_some_and(|base| BASES[same.base].0 == Some(nearest(base))))
        };
        let clearest = match same.as_slice() {
            [only] => Some(only),
            [first, second, ..] if 10.0 * first.spread < second.spread => Some(first),
            _ => said(),
        };
        match clearest {
            Some(&Same { base: 0, sum, .. }) => return of(ValueKind::Normalised, None, Some(sum)),
            Some(&Same { base, sum, .. }) => return logged(base, sum),
            None => {}
        }
        // Few cells, or cells that are all alike: any base would do, and only a sum that is the model's own is no chance.
        if let Some(target) = target_sum
            && !self.sums[1].is_empty()
            && self.sums[1].iter().all(|sum| (sum / target - 1.0).abs() <= 1e-3)
        {
            return logged(1, target);
        }
        if self.n_values >= MIN_VALUES && self.largest > 0.0 {
            let order = [log_base.map(nearest), Some(E), Some(2.0), Some(10.0)];
            let base = order.into_iter().flatten().find(|base| {
                let place = BASES.iter().position(|(other, _)| *other == Some(*base));
                place.is_some_and(|i| self.of_counts[i].is_some_and(|n| n >= MIN_VALUES))
            });
            if base.is_some() {
                return of(ValueKind::LogCounts, base, None);
            }
            if is_near && self.largest >= 4.5 {
                return of(ValueKind::EstimatedCounts, None, None);
            }
        }
        of(ValueKind::LogNormalised, log_base.map(nearest), None)
    }

    /// What all cells sum up to, by the bases with which they do; the one with which they do best goes first.
    fn same_sums(&self) -> Vec<Same> {
        let mut same: Vec<Same> = Vec::new();
        for base in (0..BASES.len()).filter(|&base| self.sums[base].len() >= MIN_CELLS) {
            let [low, sum, high] = quantiles(&self.sums[base]);
            let spread = (high - low) / sum;
            if sum > 0.0 && spread <= SPREAD {
                insert(&mut same, Same { base, sum, spread }, |a, b| a.spread.total_cmp(&b.spread));
            }
        }
        same
    }

    pub(super) fn report(&self, values: &Values, conversion: Conversion, model_sum: f64) -> ValueReport {
        let mut n_genes = self.n_genes.clone();
        n_genes.sort_unstable();
        ValueReport {
            kind: values.kind,
            log_base: values.log_base,
            target_sum: values.target_sum,
            conversion,
            n_sampled_cells: self.n_cells,
            n_empty_cells: self.n_cells - self.n_genes.len(),
            median_sum: quantiles(&self.sums[0])[1],
            median_genes: n_genes.get(n_genes.len() / 2).copied().unwrap_or(0),
            text: self.text(values, conversion, model_sum),
        }
    }

    fn text(&self, values: &Values, conversion: Conversion, model_sum: f64) -> String {
        let base = match values.log_base {
            Some(2.0) => "log2(1 + x)",
            Some(10.0) => "log10(1 + x)",
            Some(_) => "ln(1 + x)",
            None => "a logarithm",
        };
        let sum = values.target_sum.unwrap_or(0.0);
        let shown = |sum: f64| {
            if sum < 100.0 {
                format!("{sum:.4}")
            } else {
                format!("{sum:.0}")
            }
        };
        match (values.kind, conversion, values.target_sum) {
            (ValueKind::Counts, ..) => "counts, which are normalised as the model was trained".to_owned(),
            (ValueKind::EstimatedCounts, ..) => format!(
                "estimated counts: {:.0} % lie within {NEAR} of a whole number, as after SoupX, DecontX, alevin or RSEM; taken as counts, and normalised. \
                 Counts as they were measured are better",
                100.0 * self.n_near as f64 / self.n_values.max(1) as f64
            ),
            (ValueKind::LogCounts, ..) => {
                format!("{base} of counts that were not normalised; the logarithm is undone, and the counts are normalised")
            }
            (ValueKind::Normalised, ..) => format!(
                "normalised without logarithm: each cell sums up to {}; scaled to the model's {}, and log1p taken",
                shown(sum),
                shown(model_sum)
            ),
            (ValueKind::LogNormalised, Conversion::AsTheyAre, Some(_)) => format!(
                "log-normalised already, {base} of cells that sum up to {}, as the model was trained; used as they are",
                shown(model_sum)
            ),
            (ValueKind::LogNormalised, _, Some(_)) => format!(
                "log-normalised, {base} of cells that sum up to {}; brought to ln(1 + x) of cells that sum up to {}, as the model was trained",
                shown(sum),
                shown(model_sum)
            ),
            (ValueKind::LogNormalised, Conversion::Rescale, None) => format!(
                "log-normalised, {base}, of a sum that the file does not tell (its cells do not have one sum, so genes are missing); only the logarithm was \
                 changed to the natural one"
            ),
            (ValueKind::LogNormalised, _, None) => {
                let what = if values.log_base.is_some() {
                    "what the cells sum up to"
                } else {
                    "the base of the logarithm and what the cells sum up to"
                };
                format!(
                    "log-normalised already, used as they are: {what} cannot be told, as where genes are missing; the model was trained on ln(1 + x) of \
                     cells that sum up to {}",
                    shown(model_sum)
                )
            }
        }
    }
}

impl Values {
    /// What the value is the logarithm of, less 1.
    fn undone(&self, value: f32) -> f64 {
        (f64::from(value) * self.log_base.map_or(1.0, f64::ln)).exp_m1()
    }

    /// Holds every single value to what the sample said.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, value: f32) -> Result<(), String> {
        check_number(value)?;
        match self.kind {
            ValueKind::Counts if !is_whole(value) => Err(format!("{value} is no count, but the values before it are")),
            ValueKind::LogNormalised | ValueKind::LogCounts if value >= MAX_LOG_VALUE => Err(format!(
                "{value} is no log-normalised value (below {MAX_LOG_VALUE}), but the values before it are"
            )),
            ValueKind::LogCounts if value > 0.0 && is_log_of_count(self.undone(value)) == Some(false) => Err(format!(
                "{value} is no logarithm of a count and 1, but the values before it are"
            )),
            _ => Ok(()),
        }
    }
}

/// What the values are, on which scale, by about [`N_SAMPLED_CELLS`] cells.
///
/// # Errors
/// What is wrong with the values, or the file.
pub(super) fn sample_values(matrix: &dyn CellMatrix) -> Result<Values> {
    let verdict = Sample::take(matrix)??.verdict(matrix.log_base(), None);
    verdict.map_err(|(cell, column, problem)| wrong_value(matrix, cell, column, problem))
}

impl Values {
    /// Whether both can be brought to the model's scale by one decision.
    pub(super) fn are_as(&self, other: &Self) -> bool {
        let same_sum = match (self.target_sum, other.target_sum) {
            (Some(a), Some(b)) => (a / b - 1.0).abs() <= SPREAD,
            (a, b) => a == b,
        };
        (self.kind, self.log_base) == (other.kind, other.log_base) && same_sum
    }

    /// In words, with what is known of the scale.
    pub(super) fn describe(&self) -> String {
        let base = self.log_base.map(|base| format!(", base {base:.4}"));
        let sum = self.target_sum.map(|sum| format!(", {sum:.0} a cell"));
        format!(
            "{}{}{}",
            self.kind.describe(),
            base.unwrap_or_default(),
            sum.unwrap_or_default()
        )
    }
}

/// Looks at about [`N_SAMPLED_CELLS`] cells: what the values are, and whether their scale is known. The inner error is about the values, the outer
/// about the file.
pub(crate) fn sample_kind(matrix: &dyn CellMatrix) -> Result<Result<(ValueKind, bool)>> {
    Ok(Sample::take(matrix)?.and_then(|sample| {
        let verdict = sample.verdict(matrix.log_base(), None);
        verdict
            .map(|values| {
                (
                    values.kind,
                    values.kind != ValueKind::LogNormalised || values.target_sum.is_some(),
                )
            })
            .map_err(|(cell, column, problem)| wrong_value(matrix, cell, column, problem))
    }))
}

/// The base that a file means.
fn nearest(base: f64) -> f64 {
    [2.0, 10.0].into_iter().find(|known| (known - base).abs() < 1e-6).unwrap_or(E)
}

fn is_whole(value: f32) -> bool {
    (value - value.round()).abs() <= COUNT_TOLERANCE
}

/// Whether a logarithm is one of a count and 1, when what it undoes to is `amount`. It has about seven digits, of which a large number keeps
/// too few to tell.
fn is_log_of_count(amount: f64) -> Option<bool> {
    let whole = amount.round();
    let tolerance = 1e-3 + 5e-6 * whole;
    (tolerance < 0.1).then_some(whole >= 1.0 && (amount - whole).abs() <= tolerance)
}

/// Neither counts nor what is made of them are ever these.
fn check_number(value: f32) -> Result<(), String> {
    if value.is_nan() || value.is_infinite() {
        return Err(format!("{value} is not a finite number"));
    }
    if value < 0.0 {
        return Err(format!(
            "{value} is negative: scaled data, or residuals; wanted counts or log-normalised values"
        ));
    }
    Ok(())
}

/// The values that one of twenty are below, half, and 19 of twenty; zeros of no values.
fn quantiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    [last / 20, sorted.len() / 2, last - last / 20].map(|place| sorted.get(place).copied().unwrap_or(0.0))
}

/// Runs of cells, spread evenly from the first to the last.
fn sampled_cells(n_cells: usize) -> impl Iterator<Item = Range<usize>> {
    let (n_runs, run) = if n_cells <= N_SAMPLED_CELLS {
        (1, n_cells)
    } else {
        (N_SAMPLED_RUNS, N_SAMPLED_CELLS / N_SAMPLED_RUNS)
    };
    let (last_start, n_steps) = (n_cells - run, (n_runs - 1).max(1));
    // In two parts, since `last_start * i` may pass 32 bits.
    (0..n_runs)
        .map(move |i| last_start / n_steps * i + last_start % n_steps * i / n_steps)
        .map(move |start| start..start + run)
}

/// A value that cannot be used, by the names of its cell and gene, and what else the file holds.
pub(super) fn wrong_value(matrix: &dyn CellMatrix, cell: usize, column: u32, problem: String) -> Error {
    // The name only helps; what is wrong with the value matters more than that a name cannot be read.
    let cell_names = matrix.cell_names(cell..cell + 1).unwrap_or_default();
    let cell_name = cell_names.first().map_or("", String::as_str);
    let genes = matrix.gene_columns().first().map_or(&[][..], |column| &column.genes);
    let gene_name = genes.get(column as usize).map_or("", String::as_str);
    let place = format!(
        "{}: cell {cell_name} (row {cell}), gene {gene_name} (column {column})",
        matrix.matrix()
    );
    let others: Vec<&str> = matrix
        .matrices()
        .iter()
        .map(String::as_str)
        .filter(|name| *name != matrix.matrix())
        .collect();
    let problem = match others.as_slice() {
        [] => problem,
        others => format!("{problem}; the file also has {}, to choose as the layer", others.join(", ")),
    };
    Error::file(matrix.file(), place, problem)
}
