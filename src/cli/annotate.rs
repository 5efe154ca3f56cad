//! `scdiva annotate`.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an argument is its help text, which is plain"
)]

use super::Outcome;
use super::input::Input;
use super::output::OutputFile;
use super::session::{Session, io_error, open_matrix, progress_bar, report, show};
use clap::Args;
use scdiva::Result;
use scdiva::read::{self, Files};
use scdiva::tasks::{AnnotateOptions, Annotation, UNASSIGNED};
use scdiva::write::csv::AnnotationWriter;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A small matrix, simulated from mean profiles, that is part of the program.
const DEMO_NAME: &str = "demo (simulated: no cell in it was ever measured)";
const DEMO: &[u8] = include_bytes!("../../models/demo/pbmc_simulated.h5ad");

#[derive(Debug, Args)]
pub(super) struct Annotate {
    /// A matrix of counts or of log-normalised values: .h5ad, .csv or .tsv, the last two also .gz
    #[arg(required_unless_present = "demo", conflicts_with = "demo")]
    input: Option<PathBuf>,
    /// Annotate a small simulated matrix instead
    #[arg(long)]
    demo: bool,
    /// Where the table goes: cell,label,probability,second_label,second_probability [default: stdout]
    #[arg(short, long, value_name = "OUT.csv")]
    output: Option<PathBuf>,
    /// Which of the model's heads
    #[arg(long, value_name = "NAME")]
    head: Option<String>,
    /// Cells whose best label is less probable than this are `unassigned`
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_probability: f32,
    #[command(flatten)]
    how: Input,
}

impl Annotate {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let inputs: Vec<&Path> = self.input.as_deref().into_iter().collect();
        let output = self
            .output
            .as_deref()
            .map(|path| OutputFile::create(path, &inputs))
            .transpose()?;
        let mut scdiva = session.open().await?;
        let matrix = match &self.input {
            Some(input) => open_matrix(input, &self.how, &scdiva)?,
            None => {
                let files = Files::one(DEMO_NAME, Arc::new(DEMO));
                let demo = read::open(&files, &self.how.open_options(), scdiva.vocabulary())?;
                report(demo.as_ref(), &self.how, &scdiva)?;
                demo
            }
        };
        let options = AnnotateOptions {
            head: self.head,
            min_probability: self.min_probability,
        };
        let start = Instant::now();
        let bar = progress_bar(matrix.n_cells());
        let annotation = scdiva
            .annotate(matrix.as_ref(), &self.how.match_options(), &options, &mut show(&bar))
            .await;
        bar.finish_and_clear();
        let annotation = annotation?;
        let seconds = start.elapsed().as_secs_f64();
        let names = matrix.cell_names(0..matrix.n_cells())?;
        match output {
            Some(mut file) => {
                write(&mut file, &names, &annotation).map_err(io_error(&file.path()))?;
                file.finish()?;
            }
            None => write(io::stdout().lock(), &names, &annotation).map_err(io_error(Path::new("stdout")))?,
        }
        eprintln!("{} cells in {seconds:.1} s: {}", matrix.n_cells(), summary(&annotation));
        if annotation.any_assigned() {
            Ok(Outcome::Done)
        } else {
            eprintln!("nothing could be annotated: no cell has a gene that the model knows and a label that is probable enough");
            Ok(Outcome::NothingAnnotated)
        }
    }
}

fn write(out: impl Write, names: &[String], annotation: &Annotation) -> io::Result<()> {
    let mut writer = AnnotationWriter::new(out)?;
    for (i, (cell, prediction)) in names.iter().zip(&annotation.predictions).enumerate() {
        let best = prediction.map(|p| (annotation.label(i).unwrap_or(UNASSIGNED), p.probability));
        let second = prediction.map(|p| (annotation.labels[p.second_label].as_str(), p.second_probability));
        writer.write_row(cell, best, second)?;
    }
    writer.finish()?;
    Ok(())
}

/// `CD4 T 83, B 40, unassigned 2`: the most frequent label first.
fn summary(annotation: &Annotation) -> String {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for label in (0..annotation.predictions.len()).filter_map(|cell| annotation.label(cell)) {
        *counts.entry(label).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts
        .iter()
        .map(|(label, n)| format!("{label} {n}"))
        .collect::<Vec<_>>()
        .join(", ")
}
