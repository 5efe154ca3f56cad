//! Cell types: a head on the cell embedding. Source: spec section 6.

use super::{OnProgress, Progress, Runner, TissueChoice, TissueDecision, answer_blocks, decide_tissue};
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
    /// Cells whose most probable label is less probable than this are [`UNASSIGNED`]; without it the head's own threshold holds.
    pub min_probability: Option<f32>,
    /// Which labels may be given.
    pub tissue: TissueChoice,
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
    /// The threshold that was used; 0 for none.
    pub min_probability: f32,
    /// The tissue whose labels were given.
    pub tissue: TissueDecision,
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
pub fn check_min_probability(min_probability: Option<f32>) -> Result<()> {
    match min_probability {
        Some(p) if !(0.0..=1.0).contains(&p) => {
            let problem = format!("{p}, wanted 0 to 1");
            Err(Error::argument("annotate", "min_probability", problem))
        }
        _ => Ok(()),
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
    check_min_probability(options.min_probability)?;
    let n_cells = tokenizer.report().n_cells;
    let mut before = |_| on_progress(Progress { n_done: 0, n_cells });
    let (head, tissue) = decide_tissue(runner, tokenizer, head, &options.tissue, &mut before).await?;
    let mut predictions = Vec::with_capacity(n_cells);
    answer_blocks(runner, tokenizer, Some(&head), 0..n_cells, on_progress, &mut |block| {
        predictions.extend(block.predictions);
        Ok(())
    })
    .await?;
    Ok(Annotation {
        labels: head.labels,
        ontology_ids: head.ontology_ids,
        predictions,
        min_probability: options.min_probability.unwrap_or(head.min_probability),
        tissue,
        report: tokenizer.report().clone(),
    })
}
