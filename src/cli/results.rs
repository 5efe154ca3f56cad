//! What a complete run is written out as.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an argument is its help text, which is plain"
)]

use super::output::OutputPath;
use clap::{Args, ValueEnum};
use scdiva::run::{Columns, Results};
use scdiva::write::csv::CsvTable;
use scdiva::{Error, Result};
use std::fs::File;
use std::io;
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
        false
    }

    /// Writes a complete run, to stdout without an `output`.
    ///
    /// # Errors
    /// [`Error::Io`] and what the results themselves say.
    pub(super) fn write(
        &self,
        results: &mut Results<File>,
        _matrix: Option<&dyn scdiva::cells::CellMatrix>,
        output: Option<&OutputPath>,
        format: Format,
    ) -> Result<()> {
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
