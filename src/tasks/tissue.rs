//! Which tissue a matrix is of, so that a cell is not called something that it cannot be.

use super::{OnProgress, Runner, run_batches, tell};
use crate::cells::Tokenizer;
use crate::error::Result;
use crate::model::{Head, Tissue, Want};
use serde::{Deserialize, Serialize};

/// A tissue is recognised when at most this share of the probability, over all cells of the probe, is on labels of other tissues: a few
/// cells of another kind, or many of which the head is a little unsure, are no reason to think of another tissue. Measured with
/// `models/mini`: eight sets of blood 0.1 to 7.4 % (more than 2 % where it was not trained on them); liver, with its many immune cells, 20 %; tumour,
/// brain and pancreas, which it was trained on too, over 70 %.
pub const MOST_OUTSIDE: f64 = 0.1;

/// Cells of the probe, at the most, and in how many runs of neighbours they are read: files are read quicker so than cell by cell.
const N_PROBED: usize = 512;
const N_RUNS: usize = 32;

/// Which labels may be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TissueChoice {
    /// Those of the tissue that is recognised, all where none is.
    #[default]
    Auto,
    /// All.
    Any,
    /// Those of a tissue.
    Named(String),
}

impl From<&str> for TissueChoice {
    fn from(text: &str) -> Self {
        match text {
            "auto" => Self::Auto,
            "any" => Self::Any,
            name => Self::Named(name.to_owned()),
        }
    }
}

/// The tissue whose labels may be given, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TissueDecision {
    /// Its name; `None` where all labels may be given.
    pub name: Option<String>,
    /// The same in words; empty for a head that tells no tissues apart.
    pub text: String,
}

/// Decides, and gives the head that answers accordingly. Only [`TissueChoice::Auto`] looks at the matrix: at up to 512 cells, spread evenly
/// over all of it.
pub(crate) async fn decide_tissue(
    runner: &mut impl Runner,
    tokenizer: &Tokenizer<'_>,
    head: &Head,
    choice: &TissueChoice,
    on_progress: &mut OnProgress<'_>,
) -> Result<(Head, TissueDecision)> {
    let everything = |text: String| (head.clone(), TissueDecision { name: None, text });
    let kept_to = |name: &str, why: &str| -> Result<(Head, TissueDecision)> {
        let text = format!("Tissue: {name} ({why})");
        let name = Some(name.to_owned());
        Ok((head.in_tissue(name.as_deref())?, TissueDecision { name, text }))
    };
    match choice {
        TissueChoice::Named(name) => kept_to(name, "as was asked"),
        _ if head.tissues.is_empty() => Ok(everything(String::new())),
        TissueChoice::Any => Ok(everything("Tissue: any (as was asked)".to_owned())),
        TissueChoice::Auto => {
            let (outside, n_cells) = probe(runner, tokenizer, head, on_progress).await?;
            let nearest = head.tissues.iter().zip(outside).min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((tissue, outside)) = nearest.filter(|_| n_cells > 0) else {
                return Ok(everything("Tissue: any (no cell to recognise one by)".to_owned()));
            };
            let found = format!(
                "{:.1} % of a probe of {n_cells} cells looked like other tissue",
                100.0 * outside
            );
            if outside <= MOST_OUTSIDE {
                return kept_to(&tissue.name, &format!("recognised: {found}"));
            }
            Ok(everything(format!(
                "Tissue: any (none recognised: {} is nearest, but {found})",
                tissue.name
            )))
        }
    }
}

/// For each tissue of the head the share of the probability that is on labels of others; and of how many cells.
async fn probe(
    runner: &mut impl Runner,
    tokenizer: &Tokenizer<'_>,
    head: &Head,
    on_progress: &mut OnProgress<'_>,
) -> Result<(Vec<f64>, usize)> {
    let mut tokens = tokenizer.tokens_of(&probed_cells(tokenizer.report().n_cells))?;
    tokens.retain(|tokens| !tokens.is_empty());
    let n_cells = tokens.len();
    let mut mass = vec![0.0; head.labels.len()];
    let head = head.in_tissue(None)?;
    let want = Want {
        mean: head.pooling.reads_mean(),
        ..Want::default()
    };
    run_batches(runner, &tokens, want, &mut |cells, output| {
        for cell in head.probabilities(&output, cells.len()).chunks_exact(mass.len()) {
            mass.iter_mut().zip(cell).for_each(|(mass, &p)| *mass += f64::from(p));
        }
        tell(on_progress, cells.end, n_cells)
    })
    .await?;
    let outside = head
        .tissues
        .iter()
        .map(|tissue| outside(tissue, &mass) / n_cells.max(1) as f64);
    Ok((outside.collect(), n_cells))
}

/// The probability on labels that no cell of the tissue can have.
fn outside(tissue: &Tissue, mass: &[f64]) -> f64 {
    let inside = |label: usize| tissue.labels.contains(&label) || tissue.ambiguous.contains(&label);
    let outside = mass.iter().enumerate().filter(|&(label, _)| !inside(label));
    // Not −0 where there is none.
    outside.fold(0.0, |sum, (_, mass)| sum + mass)
}

/// Runs of cells from the first to the last, evenly spread; all of a small matrix.
fn probed_cells(n_cells: usize) -> Vec<usize> {
    if n_cells <= N_PROBED {
        return (0..n_cells).collect();
    }
    let run = N_PROBED / N_RUNS;
    let start = |i: usize| super::share(n_cells - run, i, N_RUNS - 1);
    (0..N_RUNS).flat_map(|i| start(i)..start(i) + run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_spread_over_the_whole_and_takes_no_cell_twice() {
        assert!(probed_cells(0).is_empty());
        assert_eq!(probed_cells(512), (0..512).collect::<Vec<_>>());
        for n_cells in [513, 600, 10_000, 10_000_000] {
            let cells = probed_cells(n_cells);
            assert_eq!(cells.len(), N_PROBED, "{n_cells}");
            assert!(cells.is_sorted_by(|a, b| a < b), "{n_cells}");
            assert_eq!((cells[0], cells[N_PROBED - 1]), (0, n_cells - 1));
        }
    }

    #[test]
    fn ambiguous_labels_say_nothing_against_a_tissue() {
        let tissue = Tissue {
            name: "blood".to_owned(),
            labels: vec![0, 1],
            ambiguous: vec![3],
        };
        assert_eq!(outside(&tissue, &[1.0, 2.0, 4.0, 8.0, 16.0]), 20.0);
    }
}
