//! A head for the cell types of the user's own reference: the encoder stays as it is, and only the head is fitted on its embeddings (the
//! "zero-shot" protocol of the paper). Source: spec section 6.
//!
//! Some cells of each type are embedded, a fifth of them held out. On the others the network of [`network`] is fitted by `AdamW`, on features
//! of mean 0 and variance 1 (which is then folded into the first layer, so that the head is a plain one), with types weighted by
//! `frequency^−½`, until the loss of the held-out cells falls no more. These also give the temperature, folded into the last layer, and
//! the threshold. Nothing depends on time or threads.

mod network;
mod scores;

use super::random::{Random, mix};
use super::{OnProgress, Runner, UNASSIGNED, run_batches, share, tell};
use crate::cells::{CellColumn, CellMatrix, Tokenizer};
use crate::error::{Error, Result};
use crate::model::{Head, Pooling, Want};
use crate::write::safetensors::SafetensorsWriter;
use network::{AdamW, Cells, Network, Sizes};
use scores::Answers;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};
use std::io::Cursor;

/// A type with fewer cells is left out: one held out and four to learn from are the least.
pub const LEAST_CELLS: usize = 5;

/// At most this share of the held-out cells falls under the threshold of the head.
const MOST_REJECTED: f64 = 0.05;

/// No threshold is higher: the held-out cells are of the reference's own study, and those of another are less sure for no fault of theirs.
const HIGHEST_THRESHOLD: f64 = 0.5;

/// The share of each type that is held out: one of so many.
const HELD_OUT: usize = 5;

const N_HIDDEN: usize = 64;
const BATCH: usize = 64;
const RATE: f64 = 1e-3;
const DECAY: f64 = 1.0;
/// Other studies differ from the reference in every feature, so the features that are learned from are shaken, each time anew, by noise of
/// this standard deviation. With pbmc3k as reference, and an earlier embedded model, this and the decay (0.05 before) raised the mean macro-F1 on four other studies of
/// blood from 0.68 to 0.72; they were chosen on these four among some 17 settings, so expect a little less.
const NOISE: f64 = 1.0;
const MOST_EPOCHS: usize = 200;
/// Epochs without a better loss of the held-out cells, after which no more follow.
const PATIENCE: usize = 8;

/// What stands for no label, in any case.
const NO_LABEL: [&str; 5] = ["", "nan", "na", "unknown", UNASSIGNED];

/// The label of each cell of a reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellLabels {
    /// Where they come from, for reports, such as `obs/cell_type`.
    pub source: String,
    /// `[n_cells]`: what counts `names`; `None` for a cell without a label.
    pub codes: Vec<Option<u32>>,
    /// The distinct labels. Empty ones, `nan`, `NA`, `unknown` and `unassigned` stand for none.
    pub names: Vec<String>,
}

impl CellLabels {
    /// The texts or categories of a column of the file.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such column, with those that there are, or it holds numbers; what
    /// [`CellMatrix::cell_column`] says.
    pub fn of_column(matrix: &dyn CellMatrix, column: &str) -> Result<Self> {
        let file = matrix.file();
        let wrong = |problem: String| Err(Error::argument("fit", "label column", problem));
        match matrix.cell_column(column)? {
            Some(CellColumn::Categories { codes, names }) => Ok(Self {
                source: format!("obs/{column}"),
                codes,
                names,
            }),
            Some(CellColumn::Numbers(_)) => wrong(format!("{file}: obs/{column} holds numbers; wanted texts or categories")),
            None => {
                let has = matrix.cell_columns();
                let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
                wrong(format!("{file}: no obs column {column}; it has {has}"))
            }
        }
    }
}

/// How a head is fitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitOptions {
    /// The name of the head.
    pub name: String,
    /// Of a type with more cells only so many are used, evenly spread over the file.
    pub most_cells: usize,
    /// What the head reads.
    pub pooling: Pooling,
    /// Where random numbers start: the same seed, the same head.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            name: "reference".to_owned(),
            most_cells: 500,
            pooling: Pooling::Latent,
            seed: 0,
        }
    }
}

/// A head that was fitted, and its file.
#[derive(Debug, Clone)]
pub struct FittedHead {
    /// The head, as it is read from the file.
    pub head: Head,
    /// A `.safetensors` file: [`Head::read`].
    pub file: Vec<u8>,
    /// What it was fitted on and how good it is.
    pub report: FitReport,
}

/// What a head was fitted on and how good it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitReport {
    /// The reference, as the user calls it.
    pub reference: String,
    /// Where the labels come from.
    pub source: String,
    /// The types that it knows.
    pub types: Vec<TypeReport>,
    /// Types with fewer than [`LEAST_CELLS`] cells, which it does not know.
    pub left_out: Vec<TypeReport>,
    /// Cells without a label.
    pub n_unlabelled: usize,
    /// Chosen cells without a gene that the model knows.
    pub n_unknown: usize,
    /// Cells that were used, with the held-out ones.
    pub n_cells: usize,
    /// Cells that the head was not fitted on. The scores are of these; as they ended the fit and gave temperature and threshold too, they
    /// are a little too good.
    pub n_held_out: usize,
    /// The share that is called rightly.
    pub accuracy: f64,
    /// The mean F1 of the types.
    pub macro_f1: f64,
    /// The expected calibration error of the probabilities, over ten bins.
    pub calibration_error: f64,
    /// [`Head::min_probability`]: at most 5 % of the held-out cells are under it, and it is at most 0.5.
    pub min_probability: f64,
    /// How often all cells were seen.
    pub n_epochs: usize,
}

/// A type of the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeReport {
    /// Its label.
    pub label: String,
    /// Cells of the reference that have it.
    pub n_cells: usize,
    /// Those that were used.
    pub n_used: usize,
}

impl Display for FitReport {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let list = |types: &[TypeReport], of: fn(&TypeReport) -> String| {
            let types: Vec<String> = types.iter().map(|kind| format!("{} {}", kind.label, of(kind))).collect();
            types.join(", ")
        };
        let used = |kind: &TypeReport| match kind.n_used {
            n if n == kind.n_cells => n.to_string(),
            n => format!("{n} of {}", kind.n_cells),
        };
        let (n_types, n_cells) = (self.types.len(), self.n_cells);
        writeln!(
            out,
            "reference: {}, {}: {n_cells} cells of {n_types} types",
            self.reference, self.source
        )?;
        writeln!(out, "  {}", list(&self.types, used))?;
        if !self.left_out.is_empty() {
            let left_out = list(&self.left_out, |kind| kind.n_cells.to_string());
            writeln!(
                out,
                "  left out, with fewer than {LEAST_CELLS} cells that can be used: {left_out}"
            )?;
        }
        if self.n_unlabelled > 0 {
            writeln!(out, "  {} cells have no label", self.n_unlabelled)?;
        }
        if self.n_unknown > 0 {
            writeln!(out, "  {} cells have no gene that the model knows", self.n_unknown)?;
        }
        write!(
            out,
            "  on {} cells that were held out: accuracy {:.3}, macro-F1 {:.3}, expected calibration error {:.3}, a little too good since they ended the fit too; threshold {}",
            self.n_held_out, self.accuracy, self.macro_f1, self.calibration_error, self.min_probability
        )
    }
}

/// What the reference and the model say of each other, before anything is fitted.
pub(crate) struct Fit<'a> {
    pub(crate) tokenizer: &'a Tokenizer<'a>,
    pub(crate) labels: &'a CellLabels,
    pub(crate) options: &'a FitOptions,
    /// [`crate::ModelFiles::weights_hash`].
    pub(crate) model_hash: String,
    /// Cell Ontology ids of labels that are known.
    pub(crate) ontology_ids: HashMap<String, String>,
}

/// Fits a head: the bytes of its file, and what there is to say of it. Progress counts the cells that are embedded, and is told that all
/// are done after every epoch.
pub(crate) async fn fit_head(
    runner: &mut impl Runner,
    fit: Fit<'_>,
    on_progress: &mut OnProgress<'_>,
) -> Result<(Vec<u8>, FitReport)> {
    let input = fit.tokenizer.report();
    let Chosen {
        cells,
        mut types,
        n_of_type,
        n_unlabelled,
    } = choose(fit.labels, input.n_cells, fit.options.most_cells)?;
    let mut tokens = fit.tokenizer.tokens_of(&cells)?;
    let known: Vec<bool> = tokens.iter().map(|tokens| !tokens.is_empty()).collect();
    let n_unknown = known.iter().filter(|known| !**known).count();
    tokens.retain(|tokens| !tokens.is_empty());
    let mut each = known.into_iter();
    types.retain(|_| each.next() == Some(true));

    // The labels that enough cells are left of, and for each label its place among them.
    let names = &fit.labels.names;
    let mut n_used = vec![0; names.len()];
    types.iter().for_each(|&kind| n_used[kind] += 1);
    let report_of = |kind: usize| TypeReport {
        label: names[kind].clone(),
        n_cells: n_of_type[kind],
        n_used: n_used[kind],
    };
    let all = (0..names.len()).filter(|&kind| n_of_type[kind] > 0);
    let (kept, left): (Vec<usize>, Vec<usize>) = all.partition(|&kind| n_used[kind] >= LEAST_CELLS);
    if kept.len() < 2 {
        let problem = format!(
            "{}: {}: {} labels with at least {LEAST_CELLS} cells; wanted two or more",
            input.file,
            fit.labels.source,
            kept.len()
        );
        return Err(Error::argument("fit", "labels", problem));
    }
    let is_kept = |kind: &usize| kept.contains(kind);
    let tokens: Vec<_> = tokens.into_iter().zip(&types).filter(|(_, kind)| is_kept(kind)).collect();
    let tokens: Vec<_> = tokens.into_iter().map(|(tokens, _)| tokens).collect();
    let types: Vec<usize> = types
        .iter()
        .filter_map(|own| kept.iter().position(|kind| kind == own))
        .collect();

    let pooling = fit.options.pooling;
    let want = Want {
        mean: pooling.reads_mean(),
        ..Want::default()
    };
    let n_cells = tokens.len();
    tell(on_progress, 0, n_cells)?;
    let mut features: Vec<f64> = Vec::new();
    run_batches(runner, &tokens, want, &mut |batch, output| {
        for cell in 0..batch.len() {
            features.extend(pooling.pooled(&output, batch.len(), cell).into_iter().map(f64::from));
        }
        tell(on_progress, batch.end, n_cells)
    })
    .await?;

    let labels: Vec<String> = kept.iter().map(|&kind| names[kind].clone()).collect();
    let fitted = learn(&features, &types, labels.len(), fit.options.seed, &mut || {
        tell(on_progress, n_cells, n_cells)
    })?;
    let report = FitReport {
        reference: input.file.clone(),
        source: fit.labels.source.clone(),
        types: kept.iter().copied().map(report_of).collect(),
        left_out: left.iter().copied().map(report_of).collect(),
        n_unlabelled,
        n_unknown,
        n_cells,
        n_held_out: fitted.n_held_out,
        accuracy: fitted.accuracy,
        macro_f1: fitted.macro_f1,
        calibration_error: fitted.calibration_error,
        min_probability: fitted.min_probability,
        n_epochs: fitted.n_epochs,
    };
    let ids: Vec<&str> = labels
        .iter()
        .map(|label| fit.ontology_ids.get(label).map_or("", String::as_str))
        .collect();
    let file = write(&fitted, &labels, &ids, pooling, &fit.model_hash, &report).map_err(|source| Error::Io {
        file: fit.options.name.clone(),
        source,
    })?;
    Ok((file, report))
}

/// The cells of a reference that are used.
struct Chosen {
    /// Rising.
    cells: Vec<usize>,
    /// Of each of them, by its place among the names.
    types: Vec<usize>,
    /// All cells that have each name.
    n_of_type: Vec<usize>,
    n_unlabelled: usize,
}

/// Up to `most` cells of each type that has enough, evenly spread.
fn choose(labels: &CellLabels, n_cells: usize, most: usize) -> Result<Chosen> {
    let wrong = |argument: &'static str, problem: String| Err(Error::argument("fit", argument, problem));
    if labels.codes.len() != n_cells {
        return wrong("labels", format!("{} labels for {n_cells} cells", labels.codes.len()));
    }
    if most < LEAST_CELLS {
        return wrong("most_cells", format!("{most}, wanted at least {LEAST_CELLS}"));
    }
    let is_label = |name: &String| !NO_LABEL.contains(&name.trim().to_lowercase().as_str());
    let mut of_type: Vec<Vec<usize>> = vec![Vec::new(); labels.names.len()];
    let mut n_unlabelled = 0;
    for (cell, code) in labels.codes.iter().enumerate() {
        let Some(code) = code.map(|code| code as usize) else {
            n_unlabelled += 1;
            continue;
        };
        match labels.names.get(code) {
            Some(name) if is_label(name) => of_type[code].push(cell),
            Some(_) => n_unlabelled += 1,
            None => {
                return wrong(
                    "labels",
                    format!("code {code} of cell {cell} is past the last of {}", labels.names.len()),
                );
            }
        }
    }
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for (kind, cells) in of_type.iter().enumerate().filter(|(_, cells)| cells.len() >= LEAST_CELLS) {
        let n = cells.len().min(most);
        chosen.extend((0..n).map(|i| (cells[share(cells.len(), i, n)], kind)));
    }
    chosen.sort_unstable();
    let (cells, types) = chosen.into_iter().unzip();
    Ok(Chosen {
        cells,
        types,
        n_of_type: of_type.iter().map(Vec::len).collect(),
        n_unlabelled,
    })
}

/// A network whose features are as the model gives them, and whose probabilities are calibrated.
struct Fitted {
    network: Network,
    n_held_out: usize,
    accuracy: f64,
    macro_f1: f64,
    calibration_error: f64,
    min_probability: f64,
    n_epochs: usize,
}

/// Fits a network on `features` `[n_cells, n_in]` of cells whose `types` are below `n_types`.
fn learn(
    features: &[f64],
    types: &[usize],
    n_types: usize,
    seed: u64,
    after_epoch: &mut dyn FnMut() -> Result<()>,
) -> Result<Fitted> {
    let sizes = Sizes {
        n_in: features.len() / types.len().max(1),
        n_hidden: N_HIDDEN,
        n_out: n_types,
    };
    let mut random = Random::new(mix(seed));
    let is_held_out = hold_out(types, n_types, &mut random);
    let part = |held_out: bool| -> (Vec<f64>, Vec<usize>) {
        let cells = (0..types.len()).filter(|&cell| is_held_out[cell] == held_out);
        let rows = cells
            .clone()
            .flat_map(|cell| &features[cell * sizes.n_in..(cell + 1) * sizes.n_in]);
        (rows.copied().collect(), cells.map(|cell| types[cell]).collect())
    };
    let ((mut own, own_types), (mut held, held_types)) = (part(false), part(true));
    let scaling = Scaling::of(&own, sizes.n_in);
    scaling.apply(&mut own);
    scaling.apply(&mut held);

    let mut n_own = vec![0.0_f64; n_types];
    own_types.iter().for_each(|&kind| n_own[kind] += 1.0);
    let weights: Vec<f64> = n_own.iter().map(|n| n.max(1.0).powf(-0.5)).collect();
    let held_out = Cells {
        features: &held,
        types: &held_types,
        weights: &weights,
    };
    let mut network = Network::random(sizes, &mut random);
    let mut optimiser = AdamW::new(network.parameters.len());
    let (mut best, mut least, mut n_worse, mut n_epochs) = (network.clone(), f64::INFINITY, 0, 0);
    let mut order: Vec<usize> = (0..own_types.len()).collect();
    while n_epochs < MOST_EPOCHS && n_worse < PATIENCE {
        random.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            let rows = batch
                .iter()
                .flat_map(|&cell| &own[cell * sizes.n_in..(cell + 1) * sizes.n_in]);
            let rows: Vec<f64> = rows.map(|x| x + NOISE * random.uniform()).collect();
            let kinds: Vec<usize> = batch.iter().map(|&cell| own_types[cell]).collect();
            let cells = Cells {
                features: &rows,
                types: &kinds,
                weights: &weights,
            };
            let gradient = network.gradient(cells);
            optimiser.step(&mut network.parameters, &gradient, RATE, DECAY);
        }
        n_epochs += 1;
        n_worse += 1;
        let loss = network.loss(held_out);
        if loss < least {
            (best, least, n_worse) = (network.clone(), loss, 0);
        }
        after_epoch()?;
    }

    let logits = best.logits(&held);
    let answers = Answers {
        logits: &logits,
        types: &held_types,
        n_types,
    };
    let temperature = answers.temperature();
    let calls = answers.best(temperature);
    scaling.fold_into(&mut best);
    let [_, _, w2, b2] = sizes.parts();
    best.parameters[w2.start..b2.end].iter_mut().for_each(|x| *x /= temperature);
    Ok(Fitted {
        network: best,
        n_held_out: held_types.len(),
        accuracy: scores::accuracy(&calls, &held_types),
        macro_f1: scores::macro_f1(&calls, &held_types, n_types),
        calibration_error: scores::calibration_error(&calls, &held_types),
        min_probability: scores::threshold(&calls, MOST_REJECTED).min(HIGHEST_THRESHOLD),
        n_epochs,
    })
}

/// A fifth of each type, at least one cell.
fn hold_out(types: &[usize], n_types: usize, random: &mut Random) -> Vec<bool> {
    let mut is_held_out = vec![false; types.len()];
    for kind in 0..n_types {
        let mut cells: Vec<usize> = (0..types.len()).filter(|&cell| types[cell] == kind).collect();
        random.shuffle(&mut cells);
        let n = (cells.len() / HELD_OUT).max(1);
        cells.iter().take(n).for_each(|&cell| is_held_out[cell] = true);
    }
    is_held_out
}

/// What brings each feature to mean 0 and variance 1.
struct Scaling {
    means: Vec<f64>,
    /// One over the standard deviation.
    factors: Vec<f64>,
}

impl Scaling {
    fn of(features: &[f64], n_in: usize) -> Self {
        let n_cells = (features.len() / n_in.max(1)).max(1) as f64;
        let mean_of = |term: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; n_in];
            for row in features.chunks_exact(n_in.max(1)) {
                sums.iter_mut()
                    .zip(row)
                    .enumerate()
                    .for_each(|(i, (sum, &x))| *sum += term(i, x));
            }
            sums.iter_mut().for_each(|sum| *sum /= n_cells);
            sums
        };
        let means = mean_of(&|_, x| x);
        let variances = mean_of(&|i, x| (x - means[i]).powi(2));
        // What hardly varies in the reference must not become large in other data.
        let floor = 0.03 * (variances.iter().sum::<f64>() / n_in.max(1) as f64).sqrt();
        let factor = |variance: &f64| {
            let deviation = variance.sqrt().max(floor);
            if deviation > 0.0 { 1.0 / deviation } else { 0.0 }
        };
        Self {
            factors: variances.iter().map(factor).collect(),
            means,
        }
    }

    fn apply(&self, features: &mut [f64]) {
        for row in features.chunks_exact_mut(self.means.len().max(1)) {
            for (x, (mean, factor)) in row.iter_mut().zip(self.means.iter().zip(&self.factors)) {
                *x = (*x - mean) * factor;
            }
        }
    }

    /// `W₁ (x − m) f + b₁` as `W₁′ x + b₁′`.
    fn fold_into(&self, network: &mut Network) {
        let n_hidden = network.sizes.n_hidden;
        let (w1, rest) = network.parameters.split_at_mut(network.sizes.parts()[0].end);
        let b1 = &mut rest[..n_hidden];
        for (row, (mean, factor)) in w1.chunks_exact_mut(n_hidden).zip(self.means.iter().zip(&self.factors)) {
            for (weight, bias) in row.iter_mut().zip(b1.iter_mut()) {
                *weight *= factor;
                *bias -= *weight * mean;
            }
        }
    }
}

/// The file of a head.
fn write(
    fitted: &Fitted,
    labels: &[String],
    ids: &[&str],
    pooling: Pooling,
    model_hash: &str,
    report: &FitReport,
) -> std::io::Result<Vec<u8>> {
    let Sizes { n_in, n_hidden, n_out } = fitted.network.sizes;
    let [w1, b1, w2, b2] = fitted.network.sizes.parts();
    let file = report.reference.rsplit(['/', '\\']).next().unwrap_or_default();
    let reference = format!(
        "{file}, {}: {} cells of {n_out} types; on {} held out: accuracy {:.3}, macro-F1 {:.3}",
        report.source, report.n_cells, report.n_held_out, report.accuracy, report.macro_f1
    );
    let mut metadata = BTreeMap::new();
    metadata.extend([
        ("kind", "annotate".to_owned()),
        ("labels", serde_json::to_string(labels)?),
        ("pooling", pooling.name().to_owned()),
        ("min_probability", fitted.min_probability.to_string()),
        ("model_hash", model_hash.to_owned()),
        ("reference", reference),
    ]);
    if ids.iter().any(|id| !id.is_empty()) {
        metadata.insert("ontology_ids", serde_json::to_string(ids)?);
    }
    let tensors = [
        ("0.weight", vec![n_hidden, n_in]),
        ("0.bias", vec![n_hidden]),
        ("2.weight", vec![n_out, n_hidden]),
        ("2.bias", vec![n_out]),
    ];
    let mut writer = SafetensorsWriter::with_metadata(Cursor::new(Vec::new()), &tensors, &metadata)?;
    let parameters = &fitted.network.parameters;
    let numbers = [
        turned(&parameters[w1], n_in, n_hidden),
        turned(&parameters[b1], 1, n_hidden),
        turned(&parameters[w2], n_hidden, n_out),
        turned(&parameters[b2], 1, n_out),
    ];
    for (tensor, numbers) in numbers.iter().enumerate() {
        writer.write(tensor, numbers)?;
    }
    Ok(writer.finish()?.into_inner())
}

/// `[n_rows, n_cols]` as `[n_cols, n_rows]`, in f32.
#[expect(clippy::cast_possible_truncation, reason = "heads are stored as f32")]
fn turned(matrix: &[f64], n_rows: usize, n_cols: usize) -> Vec<f32> {
    let column = |col: usize| (0..n_rows).map(move |row| matrix[row * n_cols + col] as f32);
    (0..n_cols).flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells around a place of their type's own, in units that differ from feature to feature.
    fn toy(n_types: usize, n_of_type: usize, spread: f64) -> (Vec<f64>, Vec<usize>) {
        let mut random = Random::new(3);
        let mut number = || random.below(1_000) as f64 / 500.0 - 1.0;
        let types: Vec<usize> = (0..n_types * n_of_type).map(|cell| cell % n_types).collect();
        let feature = |kind: usize, i: usize| if kind == i { 4.0 } else { 0.0 };
        let rows = types.iter().flat_map(|&kind| (0..6).map(move |i| (kind, i)));
        let features = rows.map(|(kind, i)| {
            let unit = [0.1, 1.0, 10.0][i % 3];
            unit * (100.0 + feature(kind, i) + spread * number())
        });
        (features.collect(), types)
    }

    fn learned(features: &[f64], types: &[usize], seed: u64) -> Fitted {
        learn(features, types, 4, seed, &mut || Ok(())).unwrap_or_else(|error| unreachable!("{error}"))
    }

    #[test]
    fn types_that_lie_apart_are_all_told_and_scaling_is_folded_in() {
        let (features, types) = toy(4, 30, 1.0);
        let fitted = learned(&features, &types, 0);
        assert_eq!((fitted.n_held_out, fitted.accuracy, fitted.macro_f1), (24, 1.0, 1.0));
        // On the features as they are.
        let logits = fitted.network.logits(&features);
        let answers = Answers {
            logits: &logits,
            types: &types,
            n_types: 4,
        };
        assert_eq!(scores::accuracy(&answers.best(1.0), &types), 1.0);
    }

    #[test]
    fn what_cannot_be_told_is_not_believed() {
        let (mut features, types) = toy(4, 60, 1.0);
        features
            .iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = f64::from(u32::try_from(mix(i as u64) >> 40).unwrap_or(0)));
        let fitted = learned(&features, &types, 0);
        assert!(fitted.accuracy < 0.6, "{}", fitted.accuracy);
        assert!(fitted.min_probability < 0.4, "{}", fitted.min_probability);
    }

    #[test]
    fn a_seed_gives_a_head_and_another_one_another() {
        let (features, types) = toy(4, 20, 3.0);
        let bits = |seed| -> Vec<u64> {
            learned(&features, &types, seed)
                .network
                .parameters
                .iter()
                .map(|x| x.to_bits())
                .collect()
        };
        assert!(bits(1) == bits(1));
        assert!(bits(1) != bits(2));
    }

    #[test]
    fn a_fifth_of_each_type_is_held_out_and_at_least_one() {
        let types: Vec<usize> = [vec![0; 100], vec![1; 7], vec![2; 5]].concat();
        let held_out = hold_out(&types, 3, &mut Random::new(0));
        let n = |kind: usize| (0..types.len()).filter(|&cell| types[cell] == kind && held_out[cell]).count();
        assert_eq!((n(0), n(1), n(2)), (20, 1, 1));
    }

    #[test]
    fn cells_are_spread_and_those_without_a_label_counted() {
        let names = ["T", "rare", "NaN", "B", "Unknown"].map(str::to_owned).to_vec();
        let mut codes = vec![Some(0); 1_000];
        (0..10).for_each(|i| codes[100 * i + 3] = Some(3));
        codes[..3].copy_from_slice(&[Some(1), Some(2), None]);
        codes[999] = Some(4);
        let labels = CellLabels {
            source: "test".to_owned(),
            codes,
            names,
        };
        let chosen = choose(&labels, 1_000, 50).unwrap_or_else(|error| unreachable!("{error}"));
        assert_eq!((chosen.n_unlabelled, chosen.n_of_type), (3, vec![986, 1, 0, 10, 0]));
        assert!(chosen.cells.is_sorted());
        let of = |kind: usize| -> Vec<usize> {
            let own = chosen.cells.iter().zip(&chosen.types).filter(|(_, own)| **own == kind);
            own.map(|(&cell, _)| cell).collect()
        };
        assert_eq!((of(0).len(), of(3).len(), chosen.cells.len()), (50, 10, 60));
        assert!(
            of(0).windows(2).all(|pair| (18..=22).contains(&(pair[1] - pair[0]))),
            "{:?}",
            of(0)
        );
        assert!(choose(&labels, 999, 50).is_err() && choose(&labels, 1_000, 4).is_err());
    }
}
