//! Cell types: a head on the cell embedding. Source: spec section 6.

use super::{OnProgress, Runner, answer_blocks};
use crate::cells::{InputReport, Tokenizer};
use crate::error::{Error, Result};
use crate::model::{Head, Prediction};

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

/// Refuses a threshold that is no probability.
///
/// # Errors
/// [`Error::Argument`] outside 0 to 1.
pub fn check_min_probability(min_probability: f32) -> Result<()> {
    if (0.0..=1.0).contains(&min_probability) {
        return Ok(());
    }
    let problem = format!("{min_probability}, wanted 0 to 1");
    Err(Error::argument("annotate", "min_probability", problem))
}

/// Annotates all cells.
pub(crate) async fn annotate(
    runner: &mut impl Runner,
    head: &Head,
    tokenizer: &Tokenizer<'_>,
    options: &AnnotateOptions,
    on_progress: &mut OnProgress<'_>,
) -> Result<Annotation> {
    check_min_probability(options.min_probability)?;
    let n_cells = tokenizer.report().n_cells;
    let mut predictions = Vec::with_capacity(n_cells);
    answer_blocks(runner, tokenizer, Some(head), 0..n_cells, on_progress, &mut |block| {
        predictions.extend(block.predictions);
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
