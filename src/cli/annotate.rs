//! `scdiva annotate`.

use super::fit::Reference;
use super::h5ad::{Original, own_h5ad};
use super::heads::{self, HeadPlace};
use super::input::Input;
use super::inputs::{names, results_in};
use super::interrupt;
use super::output::{OutputPath, STDOUT, is_folder};
use super::results::{Format, ResultArgs, Target};
use super::run::{JournalFile, Plan, RunArgs, expect_unchanged};
use super::session::{DeviceArgs, Session, io_error, show};
use super::{Outcome, say_error};
use clap::Args;
use indicatif::ProgressBar;
use scdiva::cells::Tokenizer;
use scdiva::model::Head;
use scdiva::read::{self, Files, OpenOptions};
use scdiva::run::{Parts, Results};
use scdiva::tasks::{FitOptions, TissueChoice, TissueDecision, check_min_probability};
use scdiva::{Error, Result, ScDiVa};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A small matrix, simulated from mean profiles, that is part of the program.
const DEMO_NAME: &str = "demo (simulated: no cell in it was ever measured)";
const DEMO: &[u8] = include_bytes!("../../models/demo/pbmc_simulated.h5ad");

#[derive(Debug, Args)]
pub(super) struct Annotate {
    /// Matrices of counts or of log-normalised values: .h5ad, 10x .h5, 10x matrix.mtx (or its folder or .zip), .zarr, .loom, .csv, .tsv
    #[arg(value_name = "INPUT", required_unless_present = "demo", conflicts_with = "demo")]
    inputs: Vec<PathBuf>,
    /// Annotate a small simulated matrix instead
    #[arg(long)]
    demo: bool,
    /// Take several inputs for samples of one matrix: one result, in which clusters, votes and the map are those of all cells together
    #[arg(long, conflicts_with_all = ["demo", "in_place", "shard"])]
    together: bool,
    /// Where the results go: .csv, .tsv, .parquet, or .h5ad (an .h5ad with columns added; of what is packed in a .zip, of a
    /// .zarr and of other formats a new one, of the matrix, obs, obsm and the names of genes); for several inputs that are not taken
    /// together a folder [default: stdout, which is also `-`]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Add the results to the input itself, an .h5ad: it is replaced by a copy when that is complete
    #[arg(long, conflicts_with_all = ["output", "demo", "shard"])]
    in_place: bool,
    /// What results are written as where the name of a file does not say it: those of several inputs, and on stdout [default: csv]
    #[arg(long, value_enum, conflicts_with = "shard")]
    format: Option<Format>,
    /// Which head: one of the model's, one that was saved, or a file that ends with .safetensors [default: the model's only one]
    #[arg(long, value_name = "NAME|FILE")]
    head: Option<String>,
    /// Annotate with the types of this reference: cells whose types are known, in any format that has columns of cells
    #[arg(long, value_name = "REFERENCE", requires = "label_key", conflicts_with = "head")]
    reference: Option<PathBuf>,
    /// The obs column of the reference with the types
    #[arg(long, value_name = "COLUMN", requires = "reference")]
    label_key: Option<String>,
    /// Of a type with more cells in the reference, use only so many, evenly spread [default: 500]
    #[arg(long, value_name = "N", requires = "reference")]
    reference_cells: Option<usize>,
    /// Keep what was learned from the reference for next time: a name for --head, or a file that ends with .safetensors; with --replace one
    /// that is there is replaced
    #[arg(long, value_name = "NAME|FILE", requires = "reference")]
    save_head: Option<String>,
    /// Cells whose best label is less probable than this are `unassigned` [default: the head's own threshold, if it has one]
    #[arg(long, value_name = "P")]
    min_probability: Option<f32>,
    /// Give only labels of cells of this tissue; `auto` recognises a tissue that the head knows, `any` allows all labels
    #[arg(long, value_name = "auto|any|NAME", default_value = "auto")]
    tissue: TissueChoice,
    #[command(flatten)]
    how: Input,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    results: ResultArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// One matrix and where its results go.
struct Job<'a> {
    /// None for the demo, several for samples that are looked at together.
    inputs: &'a [PathBuf],
    /// `None` for stdout.
    output: Option<OutputPath>,
    format: Format,
}

impl Job<'_> {
    /// What stands there now.
    fn files(&self) -> Result<Files> {
        Ok(match self.inputs {
            [] => Files::one(DEMO_NAME, Arc::new(DEMO)),
            [input] => Files::from_path(input)?,
            samples => {
                let opened = names(samples)?.into_iter().zip(samples);
                let opened = opened.map(|(name, input)| Ok((name, Files::from_path(input)?)));
                Files::samples("samples", opened.collect::<Result<_>>()?)
            }
        })
    }
}

impl Annotate {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        check_min_probability(self.min_probability)?;
        let jobs = self.jobs(&session.model_paths())?;
        let model = session.model_files()?;
        let save = self.save_head.as_deref();
        let place = save
            .map(|what| HeadPlace::new(&model, what, self.results.replace, self.run.resume))
            .transpose()?;
        if let Some(place) = &place {
            for output in jobs.iter().filter_map(|job| job.output.as_ref()) {
                place.expect_not(output)?;
            }
        }
        // Of several, one that is not there does not take the others with it.
        if let [job] = jobs.as_slice() {
            job.files()?;
            JournalFile::expect_free(job.output.as_ref(), self.run.resume)?;
        }
        let mut scdiva = session.open(&self.device).await?;
        if scdiva.vocabulary().is_none() {
            model.require("vocab.tsv")?;
        }
        let head = match self.reference() {
            Some(reference) => reference.fit(&mut scdiva, place.as_ref()).await?,
            None => heads::head(&scdiva, &model, self.head.as_deref())?,
        };
        if let [job] = jobs.as_slice() {
            return self.one(&mut scdiva, &head, job).await;
        }
        let (mut n_failed, mut outcome) = (0, Outcome::NothingAnnotated);
        for job in &jobs {
            match self.one(&mut scdiva, &head, job).await {
                Ok(Outcome::Done) => outcome = Outcome::Done,
                Ok(Outcome::NothingAnnotated) => {}
                Err(error) if interrupt::requested() => return Err(error),
                // One sample that cannot be read does not take the others with it.
                Err(error) => {
                    say_error(&error);
                    n_failed += 1;
                }
            }
        }
        if n_failed > 0 {
            return Err(Error::Argument {
                operation: "annotate",
                argument: "input",
                problem: format!(
                    "{n_failed} of {} inputs failed, as said above; the others are done",
                    jobs.len()
                ),
            });
        }
        Ok(outcome)
    }

    /// All that can be wrong with where results go is found here, before anything long begins. `model`: what the model is read from.
    fn jobs(&self, model: &[PathBuf]) -> Result<Vec<Job<'_>>> {
        let inputs: Vec<&Path> = self.inputs.iter().map(PathBuf::as_path).collect();
        let head = self.head.as_deref().filter(|head| heads::is_file(head)).map(Path::new);
        let others = self.reference.as_deref().into_iter().chain(head);
        let read: Vec<&Path> = inputs
            .iter()
            .copied()
            .chain(others)
            .chain(model.iter().map(PathBuf::as_path))
            .collect();
        let output = self.output.as_deref().filter(|output| *output != Path::new(STDOUT));
        if self.run.shard.is_some() {
            self.results.expect_none(
                "annotate",
                "not with --shard: a part keeps what all results are made of; give it to `merge`",
            )?;
        }
        let one = || -> Result<Vec<Job<'_>>> {
            let format = self.format_of(output)?;
            let output = output.map(|path| OutputPath::check(path, &read)).transpose()?;
            self.results.check(format, output.as_ref(), &self.run)?;
            Ok(vec![Job {
                inputs: &self.inputs,
                output,
                format,
            }])
        };
        if self.in_place {
            if let Some(format) = self.format.filter(|format| *format != Format::H5ad) {
                return Err(Error::Argument {
                    operation: "annotate",
                    argument: "format",
                    problem: format!("{}, but --in-place adds to an .h5ad", format.ending()),
                });
            }
            let jobs = self.inputs.chunks(1).map(|inputs| {
                Ok(Job {
                    inputs,
                    output: Some(OutputPath::check(&inputs[0], &[])?),
                    format: Format::H5ad,
                })
            });
            return jobs.collect();
        }
        match (inputs.as_slice(), output) {
            ([], _) | ([_], None) => one(),
            _ if self.together => one(),
            ([_], Some(output)) if !is_folder(output) || self.run.shard.is_some() => one(),
            (_, None) => Err(Error::Argument {
                operation: "annotate",
                argument: "output",
                problem: format!("{} inputs; wanted `-o FOLDER` for their results", inputs.len()),
            }),
            (inputs, Some(file))
                if !is_folder(file)
                    && !file.is_dir()
                    && (file.exists() || Format::of(file).is_ok_and(|named| named.is_some())) =>
            {
                Err(Error::Argument {
                    operation: "annotate",
                    argument: "output",
                    problem: format!(
                        "{} inputs and {}, a file; wanted `--together` for one result of all, or a folder for one of each",
                        inputs.len(),
                        file.display()
                    ),
                })
            }
            (_, Some(folder)) => {
                if self.run.shard.is_some() {
                    let problem = "several inputs; wanted one to take a part of".to_owned();
                    return Err(Error::Argument {
                        operation: "annotate",
                        argument: "shard",
                        problem,
                    });
                }
                std::fs::create_dir_all(folder).map_err(io_error(folder))?;
                let format = self.format.unwrap_or(Format::Csv);
                let results = results_in(folder, &self.inputs, format)?;
                let jobs = self.inputs.chunks(1).zip(results).map(|(own, result)| {
                    let output = OutputPath::check(&result, &read)?;
                    self.results.check(format, Some(&output), &self.run)?;
                    Ok(Job {
                        inputs: own,
                        output: Some(output),
                        format,
                    })
                });
                jobs.collect()
            }
        }
    }

    /// What one result is written as; `output` is `None` for stdout.
    fn format_of(&self, output: Option<&Path>) -> Result<Format> {
        let named = match output {
            // A part has none.
            Some(output) if self.run.shard.is_some() => {
                self.run.check_part(output)?;
                None
            }
            Some(output) => Format::of(output)?,
            None => None,
        };
        match (self.format, named) {
            (Some(asked), Some(named)) if asked != named => Err(Error::Argument {
                operation: "annotate",
                argument: "format",
                problem: format!("{}, but the name of the output ends with .{}", asked.ending(), named.ending()),
            }),
            (asked, named) => Ok(asked.or(named).unwrap_or(Format::Csv)),
        }
    }

    async fn one(&self, scdiva: &mut ScDiVa, head: &Head, job: &Job<'_>) -> Result<Outcome> {
        let files = job.files()?;
        let matrix = read::open(&files, &self.how.open_options(), scdiva.vocabulary())?;
        let tokenizer = scdiva.tokenizer(matrix.as_ref(), &self.how.match_options())?;
        say!("{}", tokenizer.report());
        let whole = self.results.whole(Some(matrix.as_ref()), matrix.n_cells(), job.format)?;
        let own = match (job.inputs, job.format) {
            ([input], Format::H5ad) => own_h5ad(input, matrix.as_ref(), job.output.as_ref())?,
            _ => None,
        };
        let original = match job.format {
            Format::H5ad => {
                let original = Original::of(own.as_deref(), matrix.as_ref())?;
                if let (true, Original::Matrix(matrix)) = (self.in_place, original) {
                    return Err(Error::file(matrix.file(), "format", "only an .h5ad can get results in place"));
                }
                self.results.check_h5ad(original, &whole)?;
                Some(original)
            }
            _ => None,
        };
        if self.min_probability.is_none() && head.min_probability > 0.0 {
            let own = head.min_probability;
            say!(
                "threshold: {own}, which head `{}` asks for; --min-probability 0 lifts it",
                head.name
            );
        }
        let start = Instant::now();
        let (head, tissue) = self.tissue(scdiva, &tokenizer, head).await?;
        let plan = Plan {
            matrix: matrix.as_ref(),
            tokenizer: &tokenizer,
            fingerprint: files.fingerprint()?,
            head: Some(&head),
            min_probability: self.min_probability.unwrap_or(head.min_probability),
            tissue,
            keep_embedding: self.run.shard.is_some() || self.results.need_embedding(job.format),
        };
        let journal = plan.compute(scdiva, job.output.as_ref(), &self.run).await?;
        if let (Some(shard), Some(output)) = (self.run.shard, &job.output) {
            let header = journal.journal.header();
            expect_unchanged(&job.files()?, header)?;
            let cells = header.cells.clone();
            journal.keep_as(output)?;
            say!("{}: part {shard}, cells {} to {}", output.name(), cells.start, cells.end);
            return Ok(Outcome::Done);
        }
        let (journal, path) = journal.into_parts();
        let mut results = Results::new(Parts::join(vec![journal])?);
        let header = results.header().clone();
        let look_again = || expect_unchanged(&job.files()?, &header);
        let target = Target {
            output: job.output.as_ref(),
            format: job.format,
            original,
            look_again: &look_again,
        };
        let written = self.results.write(&mut results, &whole, scdiva, &target).await;
        JournalFile::settle(path, written)?;
        said(&mut results, start)
    }

    /// `--species` holds for the reference too; everything else is found out about each by itself.
    fn reference(&self) -> Option<Reference<'_>> {
        Some(Reference {
            path: self.reference.as_deref()?,
            label_key: self.label_key.as_deref()?,
            most_cells: self.reference_cells.unwrap_or(FitOptions::default().most_cells),
            open_options: OpenOptions::default(),
            match_options: self.how.species_options(),
        })
    }

    /// Which labels may be given; says it too.
    async fn tissue(&self, scdiva: &mut ScDiVa, tokenizer: &Tokenizer<'_>, head: &Head) -> Result<(Head, TissueDecision)> {
        let bar = ProgressBar::hidden();
        let decided = scdiva
            .decide_tissue(tokenizer, head, &self.tissue, &mut show(&bar, 0))
            .await?;
        let TissueDecision { name, text } = &decided.1;
        if !text.is_empty() {
            let hint = if name.is_some() { "; --tissue any lifts it" } else { "" };
            say!("{text}{hint}");
        }
        Ok(decided)
    }
}

/// `2638 cells in 3.1 s: CD4 T 83, B 40, unassigned 2`, and why these are.
pub(super) fn said(results: &mut Results<File>, start: Instant) -> Result<Outcome> {
    let summary = results.summary()?;
    let mut labels: Vec<String> = summary.labels.iter().map(|(label, n)| format!("{label} {n}")).collect();
    if summary.n_unknown > 0 {
        labels.push(format!("without a known gene {}", summary.n_unknown));
    }
    let seconds = start.elapsed().as_secs_f64();
    say!("{} cells in {seconds:.1} s: {}", summary.n_cells, labels.join(", "));
    if summary.n_rejected > 0 {
        let (n, p) = (summary.n_rejected, results.header().min_probability);
        say!(
            "{n} of {} cells are unassigned, their best label being less probable than {p}",
            summary.n_cells
        );
    }
    Ok(if summary.any_assigned() {
        Outcome::Done
    } else {
        say!("nothing could be annotated: no cell has a gene that the model knows and a label that is probable enough");
        Outcome::NothingAnnotated
    })
}
