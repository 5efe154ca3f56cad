//! `scdiva embed`.

use super::Outcome;
use super::input::Input;
use super::output::OutputPath;
use super::run::{JournalFile, Plan, RunArgs, expect_unchanged};
use super::session::{DeviceArgs, Session, io_error};
use clap::Args;
use scdiva::read::{self, Files};
use scdiva::run::{Parts, Results};
use scdiva::tasks::TissueDecision;
use scdiva::write::csv::EmbeddingWriter;
use scdiva::write::npy::NpyWriter;
use scdiva::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Embed {
    /// A matrix of counts or of log-normalised values: .h5ad, 10x .h5, 10x matrix.mtx (or its folder or .zip), .zarr, .loom, .csv, .tsv
    input: PathBuf,
    /// Where the embeddings go: .csv with the names of the cells, or .npy, float32, one row a cell in the order of the input
    #[arg(short, long, value_name = "OUT.csv|OUT.npy")]
    output: PathBuf,
    #[command(flatten)]
    how: Input,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// How embeddings are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum EmbeddingFormat {
    Csv,
    Npy,
}

impl EmbeddingFormat {
    /// What the name says.
    ///
    /// # Errors
    /// [`Error::Argument`] for another ending.
    pub(super) fn of(output: &Path) -> Result<Self> {
        let ending = output.extension().and_then(|extension| extension.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("npy") => Ok(Self::Npy),
            _ => Err(Error::Argument {
                operation: "embed",
                argument: "output",
                problem: format!("{}; wanted a name that ends with .csv or .npy", output.display()),
            }),
        }
    }

    /// Writes the embeddings of a complete run and gives the number of cells that they say nothing about.
    ///
    /// # Errors
    /// [`Error::Io`] and what the results themselves say.
    pub(super) fn write(self, results: &mut Results<File>, output: &OutputPath) -> Result<usize> {
        let name = PathBuf::from(output.name());
        let failed = io_error(&name);
        let (n_cells, n_cols) = (results.header().input.n_cells, results.header().model.n_embedding);
        let mut n_unknown = 0;
        let mut count = |known: &[bool]| n_unknown += known.iter().filter(|&&known| !known).count();
        let mut file = output.create()?;
        match self {
            Self::Csv => {
                let mut writer = EmbeddingWriter::new(&mut file, n_cols).map_err(&failed)?;
                results.each(|names, block| {
                    count(&block.known);
                    let mut rows = names.iter().zip(block.embedding.chunks_exact(n_cols));
                    rows.try_for_each(|(name, row)| writer.write_row(name, row)).map_err(&failed)
                })?;
                writer.finish().map_err(&failed)?;
            }
            Self::Npy => {
                let mut writer = NpyWriter::new(&mut file, n_cells, n_cols).map_err(&failed)?;
                results.each(|_, block| {
                    count(&block.known);
                    let mut rows = block.embedding.chunks_exact(n_cols);
                    rows.try_for_each(|row| writer.write_row(row)).map_err(&failed)
                })?;
                writer.finish().map_err(&failed)?;
            }
        }
        file.finish()?;
        Ok(n_unknown)
    }
}

impl Embed {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let format = match self.run.shard {
            Some(_) => {
                self.run.check_part(&self.output)?;
                EmbeddingFormat::Npy
            }
            None => EmbeddingFormat::of(&self.output)?,
        };
        let model = session.model_paths();
        let read: Vec<&Path> = model.iter().chain([&self.input]).map(PathBuf::as_path).collect();
        let output = OutputPath::check(&self.output, &read)?;
        let mut scdiva = session.open(&self.device).await?;
        let files = Files::from_path(&self.input)?;
        let matrix = read::open(&files, &self.how.open_options(), scdiva.vocabulary())?;
        let tokenizer = scdiva.tokenizer(matrix.as_ref(), &self.how.match_options())?;
        say!("{}", tokenizer.report());
        let start = Instant::now();
        let plan = Plan {
            matrix: matrix.as_ref(),
            tokenizer: &tokenizer,
            fingerprint: files.fingerprint()?,
            head: None,
            min_probability: 0.0,
            tissue: TissueDecision::default(),
            keep_embedding: true,
        };
        let journal = plan.compute(&mut scdiva, Some(&output), &self.run).await?;
        expect_unchanged(&Files::from_path(&self.input)?, journal.journal.header())?;
        if let Some(shard) = self.run.shard {
            let cells = journal.journal.header().cells.clone();
            journal.keep_as(&output)?;
            say!("{}: part {shard}, cells {} to {}", output.name(), cells.start, cells.end);
            return Ok(Outcome::Done);
        }
        let (journal, path) = journal.into_parts();
        let mut results = Results::new(Parts::join(vec![journal])?);
        let n_unknown = JournalFile::settle(path, format.write(&mut results, &output))?;
        said(&results, n_unknown, start);
        Ok(Outcome::Done)
    }
}

/// What was written.
pub(super) fn said(results: &Results<File>, n_unknown: usize, start: Instant) {
    let (n_cells, n_cols) = (results.header().input.n_cells, results.header().model.n_embedding);
    let seconds = start.elapsed().as_secs_f64();
    say!("{n_cells} cells × {n_cols} numbers in {seconds:.1} s");
    if n_unknown > 0 {
        say!("{n_unknown} cells have no gene that the model knows: their rows say nothing about them");
    }
}
