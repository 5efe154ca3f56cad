//! The results of a complete run, as columns for any writer.

use super::header::RunHeader;
use super::parts::Parts;
use crate::error::{Error, Result};
use crate::model::Prediction;
use crate::order::insert;
use crate::tasks::{CellBlock, UNASSIGNED};
use crate::write::{ResultColumn, ResultValues, TableWriter};
use std::io::{Read, Seek, Write};
use std::sync::Arc;

/// Which columns a table gets, and what they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// `label`, `probability`, `second_label`, `second_probability`.
    Short,
    /// These and `ontology_term_id`, `entropy`, `rejected`.
    All,
}

/// What the neighbours of each cell say: [`crate::tasks::vote`].
#[derive(Debug, Clone, PartialEq)]
pub struct Votes {
    /// What `groups` counts.
    pub group_names: Arc<[String]>,
    /// `[n_cells]`: the group; `None` for a cell in none.
    pub groups: Vec<Option<u32>>,
    /// `[n_cells]`: the label that most of the group have, an index of the head's labels; `None` where there is none.
    pub labels: Vec<Option<u32>>,
    /// `[n_cells]`: the share of the group that has it; NaN where there is none.
    pub shares: Vec<f32>,
}

/// How many cells have each label, and what else there is to say of the whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// All cells.
    pub n_cells: usize,
    /// Cells without a gene that the model knows.
    pub n_unknown: usize,
    /// Cells whose best label is less probable than the threshold of the run.
    pub n_rejected: usize,
    /// Cells of each label, [`UNASSIGNED`] among them, the most frequent first. Those without a known gene have none.
    pub labels: Vec<(String, usize)>,
}

impl Summary {
    /// Whether at least one cell got a label.
    #[must_use]
    pub fn any_assigned(&self) -> bool {
        self.labels.iter().any(|(label, _)| label != UNASSIGNED)
    }
}

/// A complete run, with what was found out about it as a whole.
#[derive(Debug)]
pub struct Results<F> {
    parts: Parts<F>,
    /// The run's own, unless another was set.
    pub(super) min_probability: f32,
    votes: Option<Votes>,
    /// `[n_cells]`
    pub(super) umap: Option<Vec<[f32; 2]>>,
    names: Names,
}

/// The texts that columns count.
#[derive(Debug)]
struct Names {
    /// The head's labels, and [`UNASSIGNED`].
    labels: Arc<[String]>,
    /// The distinct Cell Ontology ids.
    ontology_ids: Arc<[String]>,
    /// For each label its place among them.
    ontology_id_of: Vec<Option<u32>>,
}

impl Names {
    fn new(header: &RunHeader) -> Self {
        let mut ontology_ids: Vec<String> = Vec::new();
        let ontology_id_of = (0..header.model.labels.len()).map(|label| {
            let id = header.model.ontology_ids.get(label).filter(|id| !id.is_empty())?;
            let place = ontology_ids.iter().position(|known| known == id).unwrap_or_else(|| {
                ontology_ids.push(id.clone());
                ontology_ids.len() - 1
            });
            u32::try_from(place).ok()
        });
        let ontology_id_of = ontology_id_of.collect();
        let labels = header.model.labels.iter().cloned();
        Self {
            labels: labels.chain([UNASSIGNED.to_owned()]).collect(),
            ontology_ids: ontology_ids.into(),
            ontology_id_of,
        }
    }
}

impl<F: Read + Write + Seek> Results<F> {
    /// Takes the parts of a run.
    #[must_use]
    pub fn new(parts: Parts<F>) -> Self {
        Self {
            names: Names::new(parts.header()),
            min_probability: parts.header().min_probability,
            parts,
            votes: None,
            umap: None,
        }
    }

    /// Gives the parts back.
    #[must_use]
    pub fn into_parts(self) -> Parts<F> {
        self.parts
    }

    /// What the run is.
    #[must_use]
    pub fn header(&self) -> &RunHeader {
        self.parts.header()
    }

    /// Cells less probable than this are unassigned.
    #[must_use]
    pub const fn min_probability(&self) -> f32 {
        self.min_probability
    }

    /// What the groups voted, if they did.
    #[must_use]
    pub const fn votes(&self) -> Option<&Votes> {
        self.votes.as_ref()
    }

    /// `[n_cells]`: where the cells lie, if they were laid out.
    #[must_use]
    pub fn umap(&self) -> Option<&[[f32; 2]]> {
        self.umap.as_deref()
    }

    pub(super) fn take_votes(&mut self) -> Option<Votes> {
        self.votes.take()
    }

    /// Adds what the neighbours say; columns `cluster`, `voted_label` and `vote_share` follow.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not of these cells and labels.
    pub fn set_votes(&mut self, votes: Votes) -> Result<()> {
        let n_cells = self.header().input.n_cells;
        let below = |codes: &[Option<u32>], n: usize| codes.iter().flatten().all(|&code| (code as usize) < n);
        if (votes.groups.len(), votes.labels.len(), votes.shares.len()) != (n_cells, n_cells, n_cells)
            || !below(&votes.groups, votes.group_names.len())
            || !below(&votes.labels, self.header().model.labels.len())
        {
            let problem = format!("{} answers; wanted {n_cells}, of this run's labels", votes.labels.len());
            return Err(Error::argument("write", "votes", problem));
        }
        self.votes = Some(votes);
        Ok(())
    }

    /// Adds a layout; columns `umap_1` and `umap_2` follow.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not of these cells.
    pub fn set_umap(&mut self, layout: Vec<[f32; 2]>) -> Result<()> {
        let n_cells = self.header().input.n_cells;
        if layout.len() != n_cells {
            let problem = format!("{} places; wanted {n_cells}", layout.len());
            return Err(Error::argument("write", "umap", problem));
        }
        self.umap = Some(layout);
        Ok(())
    }

    /// Hands every block to `take`, in the order of the cells, with the names of the cells.
    ///
    /// # Errors
    /// What [`super::Journal::read`] and `take` say.
    pub fn each(&mut self, take: impl FnMut(Vec<String>, CellBlock) -> Result<()>) -> Result<()> {
        self.parts.each(take)
    }

    /// Counts labels.
    ///
    /// # Errors
    /// What [`super::Journal::read`] says.
    pub fn summary(&mut self) -> Result<Summary> {
        let mut summary = Summary::default();
        let min_probability = self.min_probability;
        let mut counts = vec![0_usize; self.names.labels.len()];
        let n_labels = counts.len() - 1;
        self.parts.each(|_, block| {
            summary.n_cells += block.cells.len();
            summary.n_unknown += block.known.iter().filter(|&&known| !known).count();
            for prediction in &block.predictions {
                let label = prediction.filter(|p| p.probability >= min_probability).map(|p| p.label);
                summary.n_rejected += usize::from(prediction.is_some() && label.is_none());
                if prediction.is_some() {
                    counts[label.unwrap_or(n_labels)] += 1;
                }
            }
            Ok(())
        })?;
        let counted = self.names.labels.iter().cloned().zip(counts).filter(|(_, n)| *n > 0);
        for new in counted {
            insert(&mut summary.labels, new, |a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        Ok(summary)
    }

    /// Writes one row a cell, in the order of the cells.
    ///
    /// # Errors
    /// [`Error::Io`] about `file`, the table's name; what [`super::Journal::read`] says.
    pub fn write_table(&mut self, file: &str, mut writer: Box<dyn TableWriter + '_>, which: Columns) -> Result<()> {
        let failed = |source| Error::Io {
            file: file.to_owned(),
            source,
        };
        self.each_block(which, |cells, columns, _| writer.write_block(cells, &columns).map_err(failed))?;
        writer.finish().map_err(failed)
    }

    /// Hands names, columns and the block itself to `take`, in the order of the cells.
    pub(super) fn each_block(
        &mut self,
        which: Columns,
        mut take: impl FnMut(&[String], Vec<ResultColumn>, &CellBlock) -> Result<()>,
    ) -> Result<()> {
        let min_probability = self.min_probability;
        let (names, votes, umap) = (&self.names, self.votes.as_ref(), self.umap.as_ref());
        self.parts.each(|cells, block| {
            let mut columns = columns(&block, names, min_probability, which);
            if let Some(votes) = votes {
                columns.extend(vote_columns(votes, &block, names));
            }
            if let Some(layout) = umap {
                columns.extend(umap_columns(&layout[block.cells.clone()]));
            }
            take(&cells, columns, &block)
        })
    }
}

fn column(name: &str, values: ResultValues) -> ResultColumn {
    ResultColumn {
        name: name.to_owned(),
        values,
    }
}

fn categories(name: &str, codes: Vec<Option<u32>>, names: &Arc<[String]>) -> ResultColumn {
    column(
        name,
        ResultValues::Categories {
            codes,
            names: Arc::clone(names),
        },
    )
}

fn code(place: usize) -> Option<u32> {
    u32::try_from(place).ok()
}

/// What is said of the cells of a block, by itself.
fn columns(block: &CellBlock, names: &Names, min_probability: f32, which: Columns) -> Vec<ResultColumn> {
    let of = |value: fn(&Prediction) -> f32| {
        let numbers = block.predictions.iter().map(|p| p.as_ref().map_or(f32::NAN, value));
        ResultValues::Numbers(numbers.collect())
    };
    let rejected = |p: &Prediction| p.probability < min_probability;
    let labels = block.predictions.iter().map(|p| {
        p.as_ref()
            .and_then(|p| code(if rejected(p) { names.labels.len() - 1 } else { p.label }))
    });
    let second_labels = block
        .predictions
        .iter()
        .map(|p| p.as_ref().and_then(|p| code(p.second_label)));
    let mut columns = vec![
        categories("label", labels.collect(), &names.labels),
        column("probability", of(|p| p.probability)),
        categories("second_label", second_labels.collect(), &names.labels),
        column("second_probability", of(|p| p.second_probability)),
    ];
    if which == Columns::All {
        let ids = block.predictions.iter().map(|p| {
            let label = p.as_ref().filter(|p| !rejected(p))?.label;
            names.ontology_id_of.get(label).copied().flatten()
        });
        let rejections = block.predictions.iter().map(|p| p.as_ref().is_some_and(rejected));
        columns.extend([
            categories("ontology_term_id", ids.collect(), &names.ontology_ids),
            column("entropy", of(|p| p.entropy)),
            column("rejected", ResultValues::Truths(rejections.collect())),
        ]);
    }
    columns
}

/// What the neighbours of a block's cells say.
fn vote_columns(votes: &Votes, block: &CellBlock, names: &Names) -> [ResultColumn; 3] {
    let cells = block.cells.clone();
    [
        categories("cluster", votes.groups[cells.clone()].to_vec(), &votes.group_names),
        categories("voted_label", votes.labels[cells.clone()].to_vec(), &names.labels),
        column("vote_share", ResultValues::Numbers(votes.shares[cells].to_vec())),
    ]
}

/// Where a block's cells lie.
fn umap_columns(layout: &[[f32; 2]]) -> [ResultColumn; 2] {
    let axis = |axis: usize| ResultValues::Numbers(layout.iter().map(|place| place[axis]).collect());
    [column("umap_1", axis(0)), column("umap_2", axis(1))]
}
