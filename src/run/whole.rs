//! What is said of all cells at once: votes of groups, a layout in two dimensions. Needs memory for the embeddings of all cells.

use super::results::{Results, Votes};
use crate::cells::{CellColumn, CellMatrix};
use crate::error::{Error, Result};
use crate::model::Prediction;
use crate::tasks::{
    ClusterOptions, FindNeighbours, Progress, UmapOptions, VoteOptions, check_min_probability, cluster, umap, vote,
};
use std::io::{Read, Seek, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What is asked of all cells together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WholeOptions {
    /// Groups of cells that vote on one label.
    pub groups: Option<Groups>,
    /// The least share of a group that its label must have.
    pub min_share: f32,
    /// Whether cells are laid out in two dimensions.
    pub umap: bool,
}

/// Which cells vote together.
#[derive(Debug, Clone, PartialEq)]
pub enum Groups {
    /// Clusters of the embedding, found for this.
    Clusters,
    /// Groups that the user has.
    Given {
        /// `[n_cells]`: what counts `names`; `None` for a cell in no group.
        codes: Vec<Option<u32>>,
        /// The groups' names.
        names: Arc<[String]>,
    },
}

impl Groups {
    /// The groups of an obs column.
    ///
    /// # Errors
    /// [`Error::Argument`] when the matrix has no such column, or numbers in it; what [`CellMatrix::cell_column`] says.
    pub fn of_column(matrix: &dyn CellMatrix, column: &str) -> Result<Self> {
        let problem = match matrix.cell_column(column)? {
            Some(CellColumn::Categories { codes, names }) => {
                let names = names.into();
                return Ok(Self::Given { codes, names });
            }
            Some(CellColumn::Numbers(_)) => format!("obs/{column} holds numbers; wanted texts or categories"),
            None => match matrix.cell_columns() {
                [] => format!("no obs column {column}; it has none"),
                names => format!("no obs column {column}; it has {}", names.join(", ")),
            },
        };
        Err(Error::argument(
            "vote",
            "groups",
            format_args!("{}: {problem}", matrix.file()),
        ))
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Neighbours of each cell.
    Neighbours,
    /// Clusters of neighbours.
    Clusters,
    /// The layout.
    Umap,
}

/// Told how far a stage is; [`ControlFlow::Break`] ends it with [`Error::Cancelled`].
pub type OnStage<'a> = dyn FnMut(Stage, Progress) -> ControlFlow<()> + 'a;

impl<F: Read + Write + Seek> Results<F> {
    /// Looks at all cells together, with the neighbours that `finder` finds; the results then have columns `cluster`, `voted_label`, `vote_share`, and `umap_1`, `umap_2`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the run did not keep its embeddings, or groups are not of its cells; [`Error::Cancelled`]; what
    /// [`super::Journal::read`] says.
    pub async fn look_at_whole(
        &mut self,
        options: &WholeOptions,
        finder: &mut impl FindNeighbours,
        on_stage: &mut OnStage<'_>,
    ) -> Result<()> {
        let clusters = matches!(options.groups, Some(Groups::Clusters));
        if options.groups.is_none() && !options.umap {
            return Ok(());
        }
        let (n_cells, n_cols) = (self.header().input.n_cells, self.header().model.n_embedding);
        if (clusters || options.umap) && n_cols == 0 {
            let problem = "the run did not keep them".to_owned();
            return Err(Error::argument("write", "embeddings", problem));
        }
        let mut predictions = Vec::with_capacity(n_cells);
        // Grown step by step it would be in memory twice.
        let mut embedding = Vec::with_capacity(if clusters || options.umap { n_cells * n_cols } else { 0 });
        let mut empty_cells = Vec::new();
        self.each(|_, block| {
            predictions.extend(block.predictions);
            if clusters || options.umap {
                embedding.extend(block.embedding);
            }
            let unknown = block.cells.zip(block.known).filter(|(_, known)| !known);
            empty_cells.extend(unknown.map(|(cell, _)| cell));
            Ok(())
        })?;
        let near = if clusters || options.umap {
            let mut tell = |progress| on_stage(Stage::Neighbours, progress);
            Some(finder.find_neighbours(&embedding, n_cols, &empty_cells, &mut tell).await?)
        } else {
            None
        };
        let groups = match (&options.groups, &near) {
            (Some(Groups::Given { codes, names }), _) => Some((codes.clone(), Arc::clone(names))),
            (Some(Groups::Clusters), Some(near)) => {
                let mut tell = |progress| on_stage(Stage::Clusters, progress);
                let found = cluster(near, &ClusterOptions::default(), &mut tell)?;
                let names = (0..found.n_clusters).map(|number| number.to_string());
                Some((found.of_cell, names.collect()))
            }
            _ => None,
        };
        if let Some((groups, group_names)) = groups {
            self.count_votes(groups, group_names, &predictions, options.min_share)?;
        }
        if let (true, Some(near)) = (options.umap, &near) {
            let mut tell = |progress| on_stage(Stage::Umap, progress);
            let layout = umap(&embedding, n_cols, near, &UmapOptions::default(), &mut tell)?;
            self.set_umap(layout)?;
        }
        Ok(())
    }
    /// Calls cells less probable than this unassigned, whatever the run did; groups vote again.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not from 0 to 1; what [`super::Journal::read`] says.
    pub fn set_min_probability(&mut self, min_probability: f32, min_share: f32) -> Result<()> {
        check_min_probability(Some(min_probability))?;
        self.min_probability = min_probability;
        let Some(votes) = self.take_votes() else { return Ok(()) };
        let mut predictions = Vec::with_capacity(votes.groups.len());
        self.each(|_, block| {
            predictions.extend(block.predictions);
            Ok(())
        })?;
        self.count_votes(votes.groups, votes.group_names, &predictions, min_share)
    }

    fn count_votes(
        &mut self,
        groups: Vec<Option<u32>>,
        group_names: Arc<[String]>,
        predictions: &[Option<Prediction>],
        min_share: f32,
    ) -> Result<()> {
        let options = VoteOptions {
            min_probability: self.min_probability,
            min_share,
        };
        let votes = vote(&groups, group_names.len(), predictions, &options)?;
        let of_cells = (0..groups.len()).map(|cell| votes.of(cell));
        let labels = of_cells.clone().map(|vote| u32::try_from(vote?.label?).ok());
        self.set_votes(Votes {
            labels: labels.collect(),
            shares: of_cells.map(|vote| vote.map_or(f32::NAN, |vote| vote.share)).collect(),
            groups,
            group_names,
        })
    }
}
