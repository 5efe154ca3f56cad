//! What a complete run is written out as.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an argument is its help text, which is plain"
)]

use super::h5ad::Original;
use super::output::OutputPath;
use super::session::{progress_bar, show};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use scdiva::cells::CellMatrix;
use scdiva::run::{Columns, Groups, Results, Stage, WholeOptions};
use scdiva::tasks::{FindNeighbours, Progress};
use scdiva::write::TableWriter;
use scdiva::write::csv::CsvTable;
use scdiva::write::parquet::ParquetTable;
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
    Parquet,
    H5ad,
}

impl Format {
    /// What the name says; `None` for a name that says nothing, such as a device's.
    ///
    /// # Errors
    /// [`Error::Argument`] for an ending that is none of ours.
    pub(super) fn of(path: &Path) -> Result<Option<Self>> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("csv") => Ok(Some(Self::Csv)),
            Some("tsv") => Ok(Some(Self::Tsv)),
            Some("parquet") => Ok(Some(Self::Parquet)),
            Some("h5ad") => Ok(Some(Self::H5ad)),
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
            Self::Parquet => "parquet",
            Self::H5ad => "h5ad",
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
    pub(super) groups: Option<String>,
    /// Groups in which fewer than this share of the cells agree get no label
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) min_share: f32,
    /// Lay the cells out in two dimensions: columns umap_1 and umap_2; an .h5ad of up to 200,000 cells gets this in any case
    #[arg(long)]
    umap: bool,
    /// No such layout in an .h5ad
    #[arg(long, conflicts_with = "umap")]
    no_umap: bool,
    /// In an .h5ad, take out the results of an earlier run; without this, finding any is an error, and what is not of scdiva never goes
    #[arg(long)]
    pub(super) replace: bool,
}

/// Where the results of a run go, and of what they are.
pub(super) struct Target<'a> {
    /// `None` for stdout.
    pub(super) output: Option<&'a OutputPath>,
    pub(super) format: Format,
    /// What an `.h5ad` is made of.
    pub(super) original: Option<Original<'a>>,
    /// Says whether the input still is what was read; asked when all that takes long is done.
    pub(super) look_again: &'a dyn Fn() -> Result<()>,
}

/// More cells than this are laid out only when it is asked for: it takes minutes, and memory for all embeddings.
const MOST_LAID_OUT: usize = 200_000;

impl ResultArgs {
    /// Refuses what cannot be written, before anything long begins.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub(super) fn check(&self, format: Format, output: Option<&OutputPath>, run: &super::run::RunArgs) -> Result<()> {
        let to_a_file = output.is_some_and(|output| output.target().is_some());
        if format == Format::Parquet && output.is_none() {
            return Err(Error::Argument {
                operation: "write",
                argument: "format",
                problem: "parquet is not text; wanted `-o FILE` too".to_owned(),
            });
        }
        if format == Format::H5ad && !to_a_file {
            return Err(Error::Argument {
                operation: "write",
                argument: "output",
                problem: "an .h5ad cannot be written to a device or a pipe".to_owned(),
            });
        }
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

    /// Refuses everything that is asked of results where none are written. `without`: why not, and what to do.
    ///
    /// # Errors
    /// [`Error::Argument`] that names the option.
    pub(super) fn expect_none(&self, operation: &'static str, without: &str) -> Result<()> {
        let given = [
            ("all-columns", self.all_columns),
            ("vote", self.vote),
            ("groups", self.groups.is_some()),
            ("min-share", self.min_share != 0.0),
            ("umap", self.umap),
            ("no-umap", self.no_umap),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((argument, _)) => Err(Error::Argument {
                operation,
                argument,
                problem: without.to_owned(),
            }),
        }
    }

    /// Whether the run must keep the embeddings of the cells.
    pub(super) fn need_embedding(&self, format: Format) -> bool {
        self.vote || self.umap || format == Format::H5ad
    }

    /// What is asked of all cells together; to be called before anything long begins.
    ///
    /// # Errors
    /// [`Error::Argument`] for a share that is none, when the input has no such column of groups; what [`CellMatrix::cell_column`] says.
    pub(super) fn whole(&self, matrix: Option<&dyn CellMatrix>, n_cells: usize, format: Format) -> Result<WholeOptions> {
        if !(0.0..=1.0).contains(&self.min_share) {
            return Err(Error::Argument {
                operation: "vote",
                argument: "min_share",
                problem: format!("{}, wanted 0 to 1", self.min_share),
            });
        }
        let groups = match (&self.groups, matrix) {
            (None, _) => self.vote.then_some(Groups::Clusters),
            (Some(column), Some(matrix)) => Some(Groups::of_column(matrix, column)?),
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
            umap: self.umap || (format == Format::H5ad && !self.no_umap && n_cells <= MOST_LAID_OUT),
        })
    }

    /// Writes a complete run, with the neighbours that `finder` finds.
    ///
    /// # Errors
    /// [`Error::Io`]; what [`Target::look_again`] and the results themselves say.
    pub(super) async fn write(
        &self,
        results: &mut Results<File>,
        whole: &WholeOptions,
        finder: &mut impl FindNeighbours,
        target: &Target<'_>,
    ) -> Result<()> {
        let Target {
            output,
            format,
            original,
            look_again,
        } = *target;
        let mut bars = StageBars::default();
        let mut show = |stage, progress| bars.show(stage, progress);
        results.look_at_whole(whole, finder, &mut show).await?;
        drop(bars);
        look_again()?;
        let which = match format {
            Format::Csv | Format::Tsv if !self.all_columns => Columns::Short,
            _ => Columns::All,
        };
        let delimiter = if format == Format::Tsv { b'\t' } else { b',' };
        let Some(output) = output else {
            let table = Box::new(CsvTable::new(io::stdout().lock(), delimiter));
            return results.write_table("stdout", table, which);
        };
        if format == Format::H5ad {
            return match (output.target(), original) {
                (Some(target), Some(original)) => {
                    let in_place = self.write_h5ad(results, whole, target, original, look_again)?;
                    if !in_place {
                        output.say_if_replaced();
                    }
                    Ok(())
                }
                _ => Err(Error::Argument {
                    operation: "write",
                    argument: "output",
                    problem: "an .h5ad must be a file, and be made of one".to_owned(),
                }),
            };
        }
        let mut file = output.create()?;
        let table: Box<dyn TableWriter + '_> = match format {
            Format::Parquet => Box::new(ParquetTable::new(&mut file)),
            _ => Box::new(CsvTable::new(&mut file, delimiter)),
        };
        results.write_table(&output.name(), table, which)?;
        file.finish()
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
            say!("{what} …");
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
