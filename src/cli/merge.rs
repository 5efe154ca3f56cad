//! `scdiva merge`.

use super::Outcome;
use super::annotate;
use super::embed::{self, EmbeddingFormat};
use super::h5ad::{Original, own_h5ad};
use super::input::Input;
use super::output::OutputPath;
use super::results::{Format, ResultArgs, Target};
use super::run::RunArgs;
use super::session::{Session, io_error};
use clap::Args;
use scdiva::read::{self, Files};
use scdiva::run::{Journal, Parts, Results, RunHeader};
use scdiva::tasks::OnCpu;
use scdiva::{Error, Result};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Merge {
    /// The parts that `annotate --shard i/n` or `embed --shard i/n` wrote: all n of them, in any order
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,
    /// Where the results go, as for `annotate` (.csv, .tsv, .parquet, .h5ad) or `embed` (.csv, .npy)
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// The matrix that the parts are of, where the result needs it: for .h5ad and --groups
    #[arg(long, value_name = "INPUT")]
    input: Option<PathBuf>,
    #[command(flatten)]
    how: Input,
    #[command(flatten)]
    results: ResultArgs,
}

/// # Errors
/// [`Error::File`] when this is not the matrix of the run; [`Error::Io`].
fn expect_matrix(files: &Files, header: &RunHeader) -> Result<()> {
    if files.fingerprint()? == header.input.fingerprint {
        return Ok(());
    }
    let problem = format!("not the matrix that the parts are of, {}", header.input.file);
    Err(Error::file(files.name(), "content", problem))
}

/// What to do when more parts are open than a process may have open.
fn with_limit(error: io::Error) -> io::Error {
    // EMFILE, which has no kind.
    if cfg!(unix) && error.raw_os_error() == Some(24) {
        return io::Error::new(
            error.kind(),
            format!("{error}; all parts are open at once: raise `ulimit -n`"),
        );
    }
    error
}

impl Merge {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let model = session.model_paths();
        let read = self.parts.iter().chain(&self.input).chain(&model);
        let output = OutputPath::check(&self.output, &read.map(PathBuf::as_path).collect::<Vec<_>>())?;
        let start = Instant::now();
        let journals = self.parts.iter().map(|part| {
            let file = File::options()
                .read(true)
                .write(false)
                .open(part)
                .map_err(|source| io_error(part)(with_limit(source)))?;
            Journal::open(&part.display().to_string(), file)
        });
        let mut results = Results::new(Parts::join(journals.collect::<Result<_>>()?)?);
        if results.header().model.head.is_none() {
            let problem = "not for parts of `embed`: there are embeddings in them, and no labels";
            self.results.expect_none("merge", problem)?;
            let n_unknown = EmbeddingFormat::of(&self.output)?.write(&mut results, &output)?;
            embed::said(&results, n_unknown, start);
            return Ok(Outcome::Done);
        }
        let format = Format::of(&self.output)?.unwrap_or(Format::Csv);
        self.results.check(format, Some(&output), &RunArgs::default())?;
        let matrix = match &self.input {
            None if format == Format::H5ad => {
                return Err(Error::Argument {
                    operation: "merge",
                    argument: "input",
                    problem: "an .h5ad needs the input: wanted `--input INPUT` too".to_owned(),
                });
            }
            Some(input) if format == Format::H5ad || self.results.groups.is_some() => {
                let files = Files::from_path(input)?;
                expect_matrix(&files, results.header())?;
                // The genes of the model tell the genes of a table from its cells.
                let model = session.model_files()?;
                let vocabulary = model.vocabulary(&model.config()?)?;
                Some(read::open(&files, &self.how.open_options(), vocabulary.as_ref())?)
            }
            // What is not needed is not opened.
            _ => None,
        };
        let n_cells = results.header().input.n_cells;
        if let Some(matrix) = matrix.as_deref().filter(|matrix| matrix.n_cells() != n_cells) {
            let problem = format!(
                "{} cells, but the parts have {n_cells}; wanted the same --layer, --min-counts and --model as for the parts",
                matrix.n_cells()
            );
            return Err(Error::file(matrix.file(), "cells", problem));
        }
        let whole = self.results.whole(matrix.as_deref(), n_cells, format)?;
        let own = match (&self.input, &matrix, format) {
            (Some(input), Some(matrix), Format::H5ad) => own_h5ad(input, matrix.as_ref(), Some(&output))?,
            _ => None,
        };
        let original = match (&matrix, format) {
            (Some(matrix), Format::H5ad) => {
                let original = Original::of(own.as_deref(), matrix.as_ref())?;
                self.results.check_h5ad(original, &whole)?;
                Some(original)
            }
            _ => None,
        };
        let header = results.header().clone();
        // Of a table only the groups were read, before anything else.
        let look_again = || match (&self.input, original) {
            (Some(input), Some(_)) => expect_matrix(&Files::from_path(input)?, &header),
            _ => Ok(()),
        };
        let target = Target {
            output: Some(&output),
            format,
            original,
            look_again: &look_again,
        };
        self.results.write(&mut results, &whole, &mut OnCpu, &target).await?;
        annotate::said(&mut results, start)
    }
}
