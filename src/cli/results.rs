//! What a complete run is written out as.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an argument is its help text, which is plain"
)]

use super::output::OutputPath;
use super::session::{progress_bar, show};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use scdiva::cells::{CellColumn, CellMatrix};
use scdiva::run::{Columns, Groups, Results, Stage, WholeOptions};
use scdiva::tasks::Progress;
use scdiva::write::csv::CsvTable;
use scdiva::{Error, Result};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Csv,
    Tsv,
}

impl Format {
    /// What the name says; a name that says nothing, or a device, gets a CSV.
    ///
    /// # Errors
    /// [`Error::Argument`] for an ending that is none of ours.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            None | Some("csv") => Ok(Self::Csv),
            Some("tsv") => Ok(Self::Tsv),
            Some(_) => Err(Error::Argument {
                operation: "write",
                argument: "output",
                problem: format!(
                    "{}; wanted a name that ends with .csv, .tsv, .parquet or .h5ad",
                    path.display()
                ),
            }),
        }
    }

    /// The ending of a file name.
    pub(super) const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(super) struct ResultArgs {
    /// In .csv and .tsv, also ontology_term_id, entropy and rejected, which other formats always have
    #[arg(long)]
    all_columns: bool,
    /// Let clusters of similar cells vote: columns cluster, voted_label and vote_share
    #[arg(long)]
    vote: bool,
    /// Let the groups of this obs column of the input vote, instead of clusters found here
    #[arg(long, value_name = "COLUMN", conflicts_with = "vote")]
    groups: Option<String>,
    /// Groups in which fewer than this share of the cells agree get no label
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    min_share: f32,
    /// Lay the cells out in two dimensions: columns umap_1 and umap_2
    #[arg(long)]
    umap: bool,
}

impl ResultArgs {
    /// Refuses what cannot be written, before anything long begins.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub(super) fn check(&self, _format: Format, output: Option<&OutputPath>, run: &super::run::RunArgs) -> Result<()> {
        let to_a_file = output.is_some_and(|output| output.target().is_some());
        for (argument, given) in [("resume", run.resume), ("shard", run.shard.is_some())] {
            if given && !to_a_file {
                return Err(Error::Argument {
                    operation: "run",
                    argument,
                    problem: "wanted `-o FILE` too".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Whether the run must keep the embeddings of the cells.
    pub(super) const fn need_embedding(&self, _format: Format) -> bool {
        self.vote || self.umap
    }

    /// What is asked of all cells together; to be called before anything long begins.
    ///
    /// # Errors
    /// [`Error::Argument`] for a share that is none, when the input has no such column of groups; what [`CellMatrix::cell_column`] says.
    pub(super) fn whole(&self, matrix: Option<&dyn CellMatrix>) -> Result<WholeOptions> {
        if !(0.0..=1.0).contains(&self.min_share) {
            return Err(Error::Argument {
                operation: "vote",
                argument: "min_share",
                problem: format!("{}, wanted 0 to 1", self.min_share),
            });
        }
        let groups = match (&self.groups, matrix) {
            (None, _) => self.vote.then_some(Groups::Clusters),
            (Some(column), Some(matrix)) => Some(groups_of(matrix, column)?),
            (Some(_), None) => {
                return Err(Error::Argument {
                    operation: "merge",
                    argument: "groups",
                    problem: "wanted `--input` too: the matrix that has the column".to_owned(),
                });
            }
        };
        Ok(WholeOptions {
            groups,
            min_share: self.min_share,
            umap: self.umap,
        })
    }

    /// Writes a complete run, to stdout without an `output`.
    ///
    /// # Errors
    /// [`Error::Io`] and what the results themselves say.
    pub(super) fn write(
        &self,
        results: &mut Results<File>,
        whole: &WholeOptions,
        output: Option<&OutputPath>,
        format: Format,
    ) -> Result<()> {
        let mut bars = StageBars::default();
        results.look_at_whole(whole, &mut |stage, progress| bars.show(stage, progress))?;
        drop(bars);
        let which = if self.all_columns { Columns::All } else { Columns::Short };
        let delimiter = match format {
            Format::Csv => b',',
            Format::Tsv => b'\t',
        };
        let Some(output) = output else {
            let table = Box::new(CsvTable::new(io::stdout().lock(), delimiter));
            return results.write_table("stdout", table, which);
        };
        let mut file = output.create()?;
        results.write_table(&output.name(), Box::new(CsvTable::new(&mut file, delimiter)), which)?;
        file.finish()
    }
}

/// The groups of a column of the input.
fn groups_of(matrix: &dyn CellMatrix, column: &str) -> Result<Groups> {
    let wrong = |problem: String| Error::Argument {
        operation: "vote",
        argument: "groups",
        problem,
    };
    match matrix.cell_column(column)? {
        Some(CellColumn::Categories { codes, names }) => Ok(Groups::Given {
            codes,
            names: names.into(),
        }),
        Some(CellColumn::Numbers(_)) => {
            let problem = format!("{}: obs/{column} holds numbers; wanted texts or categories", matrix.file());
            Err(wrong(problem))
        }
        None => {
            let has = matrix.cell_columns();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            Err(wrong(format!("{}: no obs column {column}; it has {has}", matrix.file())))
        }
    }
}

/// A bar for what is being done with all cells.
#[derive(Default)]
struct StageBars(Option<(Stage, ProgressBar)>);

impl StageBars {
    fn show(&mut self, stage: Stage, progress: Progress) -> ControlFlow<()> {
        if self.0.as_ref().is_none_or(|(shown, _)| *shown != stage) {
            let what = match stage {
                Stage::Neighbours => "neighbours of each cell",
                Stage::Clusters => "clusters",
                Stage::Umap => "UMAP",
            };
            eprintln!("{what} …");
            *self = Self(Some((stage, progress_bar(progress.n_cells))));
        }
        match &self.0 {
            Some((_, bar)) => show(bar, 0)(progress),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Drop for StageBars {
    fn drop(&mut self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
