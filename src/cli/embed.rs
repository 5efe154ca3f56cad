//! `scdiva embed`.

use super::Outcome;
use super::input::Input;
use super::output::OutputFile;
use super::session::{Session, io_error, open_matrix, progress_bar, show};
use clap::Args;
use scdiva::tasks::Embedding;
use scdiva::write::csv::EmbeddingWriter;
use scdiva::write::npy::NpyWriter;
use scdiva::{Error, Result};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Embed {
    /// A matrix of counts or of log-normalised values: .h5ad, .csv or .tsv, the last two also .gz
    input: PathBuf,
    /// Where the embeddings go: .csv with the names of the cells, or .npy, float32, one row a cell in the order of the input
    #[arg(short, long, value_name = "OUT.csv|OUT.npy")]
    output: PathBuf,
    #[command(flatten)]
    how: Input,
}

enum Format {
    Csv,
    Npy,
}

impl Embed {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let format = format(&self.output)?;
        let mut output = OutputFile::create(&self.output, &[&self.input])?;
        let mut scdiva = session.open().await?;
        let matrix = open_matrix(&self.input, &self.how, &scdiva)?;
        let start = Instant::now();
        let bar = progress_bar(matrix.n_cells());
        let embedding = scdiva
            .embed(matrix.as_ref(), &self.how.match_options(), &mut show(&bar))
            .await;
        bar.finish_and_clear();
        let embedding = embedding?;
        let seconds = start.elapsed().as_secs_f64();
        match format {
            Format::Csv => write_csv(&mut output, &matrix.cell_names(0..matrix.n_cells())?, &embedding),
            Format::Npy => write_npy(&mut output, matrix.n_cells(), &embedding),
        }
        .map_err(io_error(&self.output))?;
        output.finish()?;
        eprintln!("{} cells × {} numbers in {seconds:.1} s", matrix.n_cells(), embedding.n_cols);
        if !embedding.empty_cells.is_empty() {
            let n = embedding.empty_cells.len();
            eprintln!("{n} cells have no gene that the model knows: their rows say nothing about them");
        }
        Ok(Outcome::Done)
    }
}

fn format(output: &Path) -> Result<Format> {
    match output.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Ok(Format::Csv),
        Some("npy") => Ok(Format::Npy),
        _ => Err(Error::Argument {
            operation: "embed",
            argument: "output",
            problem: format!("{}; wanted a name that ends with .csv or .npy", output.display()),
        }),
    }
}

fn write_csv(out: impl Write, names: &[String], embedding: &Embedding) -> io::Result<()> {
    let mut writer = EmbeddingWriter::new(out, embedding.n_cols)?;
    for (cell, row) in names.iter().zip(embedding.values.chunks_exact(embedding.n_cols)) {
        writer.write_row(cell, row)?;
    }
    writer.finish()?;
    Ok(())
}

fn write_npy(out: impl Write, n_cells: usize, embedding: &Embedding) -> io::Result<()> {
    let mut writer = NpyWriter::new(out, n_cells, embedding.n_cols)?;
    for row in embedding.values.chunks_exact(embedding.n_cols) {
        writer.write_row(row)?;
    }
    writer.finish()?;
    Ok(())
}
