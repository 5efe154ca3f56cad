//! Cell types: a head on the cell embedding. Source: spec section 6.

use super::{OnProgress, Runner, run_batches};
use crate::cells::{InputReport, Tokenizer};
use crate::error::{Error, Result};
use crate::model::{Head, Pooling, Prediction, Want};

/// The label of a cell that gets none.
pub const UNASSIGNED: &str = "unassigned";

/// How cells are annotated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnnotateOptions {
    /// Which head, by name; without it the model's only one.
    pub head: Option<String>,
    /// Cells whose most probable label is less probable than this are [`UNASSIGNED`].
    pub min_probability: f32,
}

/// The answer for all cells of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// What [`Prediction::label`] counts.
    pub labels: Vec<String>,
    /// Their Cell Ontology ids, empty where there is none.
    pub ontology_ids: Vec<String>,
    /// One a cell; `None` for a cell without a gene that the model knows.
    pub predictions: Vec<Option<Prediction>>,
    /// [`AnnotateOptions::min_probability`].
    pub min_probability: f32,
    /// What was found in the file.
    pub report: InputReport,
}

impl Annotation {
    /// The label of a cell, [`UNASSIGNED`] when it has none that is probable enough. `None` past the last cell.
    #[must_use]
    pub fn label(&self, cell: usize) -> Option<&str> {
        let prediction = self.predictions.get(cell)?;
        let label = prediction.filter(|p| p.probability >= self.min_probability);
        Some(label.map_or(UNASSIGNED, |p| self.labels[p.label].as_str()))
    }

    /// Whether at least one cell got a label.
    #[must_use]
    pub fn any_assigned(&self) -> bool {
        (0..self.predictions.len()).any(|cell| self.label(cell) != Some(UNASSIGNED))
    }
}

/// Annotates all cells.
pub(crate) async fn annotate(
    runner: &mut impl Runner,
    head: &Head,
    tokenizer: &Tokenizer<'_>,
    options: &AnnotateOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Annotation> {
    if !(0.0..=1.0).contains(&options.min_probability) {
        let problem = format!("{}, wanted 0 to 1", options.min_probability);
        return Err(Error::argument("annotate", "min_probability", problem));
    }
    let want = Want {
        mean: head.pooling != Pooling::Latent,
        ..Want::default()
    };
    let mut predictions = Vec::with_capacity(tokenizer.report().n_cells);
    run_batches(runner, tokenizer, want, on_progress, |_, tokens, output| {
        let batch = head.predict(output, tokens.len());
        predictions.extend(tokens.iter().zip(batch).map(|(tokens, p)| (!tokens.is_empty()).then_some(p)));
        Ok(())
    })
    .await?;
    Ok(Annotation {
        labels: head.labels.clone(),
        ontology_ids: head.ontology_ids.clone(),
        predictions,
        min_probability: options.min_probability,
        report: tokenizer.report().clone(),
    })
}
