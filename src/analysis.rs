//! A matrix that was annotated, looked at as a whole, and stays open for questions: what the page and the npm package work with.

use crate::cells::{CellColumn, CellMatrix, CellQc, Expression, InputReport, Inspection, MatchOptions, Tokenizer};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::model::Head;
use crate::read::{self, Files, OpenOptions, SourceCursor};
use crate::run::{
    Columns, Groups, Journal, Parts, Results, RunHeader, RunInput, RunModel, Stage, Votes, WholeOptions, h5ad_additions,
    h5ad_parameters,
};
use crate::tasks::{AnnotateOptions, CellBlock, GroupSums, Marker, OnProgress, Progress, TissueDecision, check_min_probability};
use crate::write::Overlay;
use crate::write::csv::CsvTable;
use crate::write::h5ad::H5adWriter;
use crate::{DeviceInfo, ScDiVa};
use std::cell::RefCell;
use std::fmt::{self, Debug, Formatter};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What is done with a matrix.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnalysisOptions {
    /// How cells are annotated.
    pub annotate: AnnotateOptions,
    /// Whether clusters of similar cells vote.
    pub vote: bool,
    /// The column of the input whose groups vote instead.
    pub groups: Option<String>,
    /// Whether cells are laid out in two dimensions.
    pub umap: bool,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnalysisStage {
    /// A few cells are answered, to tell which tissue they are of.
    Tissue,
    /// The whole matrix is read once: it is now known to be whole, and its cells were counted.
    Read,
    /// The model answers.
    Annotate,
    /// What needs all cells at once.
    Whole(Stage),
}

impl AnalysisStage {
    /// A short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tissue => "tissue",
            Self::Read => "read",
            Self::Annotate => "annotate",
            Self::Whole(Stage::Neighbours) => "neighbours",
            Self::Whole(Stage::Clusters) => "clusters",
            Self::Whole(Stage::Umap) => "umap",
        }
    }
}

/// Hears of an analysis while it is made.
pub trait Listener {
    /// How far a stage is; [`ControlFlow::Break`] ends all with [`Error::Cancelled`].
    fn progress(&mut self, stage: AnalysisStage, progress: Progress) -> ControlFlow<()>;
    /// Some consecutive cells, by name, have their answers.
    fn block(&mut self, cells: &[String], block: &CellBlock);
}

/// The answers of an analysis that did not come to its end, for the next one of the same matrix, model and choices.
#[derive(Debug, Default)]
pub struct Unfinished(Option<Journal<Overlay<SourceCursor>>>);

impl Unfinished {
    /// Cells that have their answers.
    #[must_use]
    pub fn n_cells(&self) -> usize {
        self.0.as_ref().map_or(0, Journal::next_cell)
    }
}

/// Means and shares of genes in groups; both `[genes, groups]`, row-major, NaN for a missing gene or a group without cells.
#[derive(Debug, Clone, PartialEq)]
pub struct DotPlot {
    /// Mean log-normalised value.
    pub mean: Vec<f32>,
    /// Share of cells with a value above 0.
    pub share: Vec<f32>,
    /// Genes that the matrix does not have.
    pub missing: Vec<String>,
}

/// A matrix with all that was found out about it.
///
/// Memory grows with the cells: their embeddings, twice while neighbours are looked for, and some hundred bytes.
pub struct Analysis {
    files: Files,
    matrix: Box<dyn CellMatrix>,
    report: InputReport,
    inspection: Inspection,
    expression: Expression,
    qc: CellQc,
    results: Results<Overlay<SourceCursor>>,
    votes_of: Option<String>,
}

impl Debug for Analysis {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Analysis")
            .field("report", &self.report)
            .field("votes_of", &self.votes_of)
            .finish_non_exhaustive()
    }
}

impl Analysis {
    /// Opens a matrix, annotates all cells, and looks at them as a whole, with the parameters of the command. When this is cancelled or fails,
    /// whole blocks of answers are left in `unfinished`; those that were left there by the same matrix, model and choices are gone on with.
    ///
    /// # Errors
    /// What [`read::open`], [`ScDiVa::answer_blocks`] and [`Results::look_at_whole`] say; [`Error::Argument`] when the input has no column
    /// [`AnalysisOptions::groups`], or no categories in it.
    pub async fn new(
        scdiva: &mut ScDiVa,
        files: Files,
        opening: &OpenOptions,
        matching: &MatchOptions,
        options: &AnalysisOptions,
        unfinished: &mut Unfinished,
        listener: &mut dyn Listener,
    ) -> Result<Self> {
        check_min_probability(options.annotate.min_probability)?;
        let matrix = read::open(&files, opening, scdiva.vocabulary())?;
        let matrix_ref = matrix.as_ref();
        let inspection = scdiva.inspect(matrix_ref, matching);
        let head = scdiva.head(options.annotate.head.as_deref())?;
        let tokenizer = scdiva.tokenizer(matrix_ref, matching)?;
        let groups = match &options.groups {
            Some(column) => Some(Groups::of_column(matrix_ref, column)?),
            None => options.vote.then_some(Groups::Clusters),
        };
        let whole = WholeOptions {
            groups,
            min_share: MIN_SHARE,
            umap: options.umap,
        };
        let votes_of = match &options.groups {
            None => options.vote.then(|| "clusters".to_owned()),
            column => column.clone(),
        };
        let Some(vocabulary) = scdiva.vocabulary() else {
            return Err(Error::argument(
                "analyse",
                "model",
                "no vocabulary; wanted a model with vocab.tsv",
            ));
        };
        let expression = Expression::new(&tokenizer, vocabulary)?;
        let (head, tissue) = scdiva
            .decide_tissue(&tokenizer, &head, &options.annotate.tissue, &mut |progress| {
                listener.progress(AnalysisStage::Tissue, progress)
            })
            .await?;
        let n_cells = matrix.n_cells();
        let told = |n_done| Progress { n_done, n_cells };
        let qc = expression.qc(matrix_ref, &mut |n_done| {
            going_on(listener.progress(AnalysisStage::Read, told(n_done)))
        })?;

        let min_probability = options.annotate.min_probability.unwrap_or(head.min_probability);
        let header = header(scdiva, &files, &tokenizer, &head, min_probability, tissue)?;
        let mut journal = match unfinished.0.take() {
            Some(journal) if *journal.header() == header => journal,
            _ => Journal::create(files.name(), new_file(&files)?, header)?,
        };
        for block in 0..journal.n_blocks() {
            let (names, block) = journal.read(block)?;
            listener.block(&names, &block);
        }
        let first = journal.next_cell();
        // Progress and blocks are told in turns, by two closures.
        let cell = RefCell::new(listener);
        let answered = scdiva
            .answer_blocks(
                &tokenizer,
                Some(&head),
                first..n_cells,
                &mut |progress| {
                    cell.borrow_mut()
                        .progress(AnalysisStage::Annotate, told(first + progress.n_done))
                },
                &mut |block| {
                    let names = matrix_ref.cell_names(block.cells.clone())?;
                    cell.borrow_mut().block(&names, &block);
                    journal.append(&names, &block)
                },
            )
            .await;
        if let Err(error) = answered {
            unfinished.0 = Some(journal);
            return Err(error);
        }
        let listener = cell.into_inner();
        let mut results = Results::new(Parts::join(vec![journal])?);
        let mut tell = |stage, progress| listener.progress(AnalysisStage::Whole(stage), progress);
        let looked = results.look_at_whole(&whole, scdiva, &mut tell).await;
        if let Err(error) = looked {
            unfinished.0 = results.into_parts().into_journals().pop();
            return Err(error);
        }
        let report = tokenizer.report().clone();
        Ok(Self {
            files,
            matrix,
            report,
            inspection,
            expression,
            qc,
            results,
            votes_of,
        })
    }

    /// What was found in the file and decided about it.
    #[must_use]
    pub const fn report(&self) -> &InputReport {
        &self.report
    }

    /// What there is in the file.
    #[must_use]
    pub const fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// The model, and what was decided.
    #[must_use]
    pub fn header(&self) -> &RunHeader {
        self.results.header()
    }

    /// What is seen of the cells in the file itself.
    #[must_use]
    pub const fn qc(&self) -> &CellQc {
        &self.qc
    }

    /// What the groups voted.
    #[must_use]
    pub const fn votes(&self) -> Option<&Votes> {
        self.results.votes()
    }

    /// `[n_cells]`: where the cells lie; two NaN for one without a gene that the model knows.
    #[must_use]
    pub fn umap(&self) -> Option<&[[f32; 2]]> {
        self.results.umap()
    }

    /// The names of the file's genes, each once.
    #[must_use]
    pub fn genes(&self) -> &[String] {
        self.expression.genes()
    }

    /// Hands the answers over again, block by block.
    ///
    /// # Errors
    /// What `take` says.
    pub fn each(&mut self, take: impl FnMut(Vec<String>, CellBlock) -> Result<()>) -> Result<()> {
        self.results.each(take)
    }

    /// How much each cell expresses a gene: `ln(1 + counts per 10,000)`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the file has no such gene; [`Error::Cancelled`]; what [`Expression::read`] says.
    pub fn gene(&self, name: &str, on_progress: &mut OnProgress<'_>) -> Result<Vec<f32>> {
        let Some(gene) = self.expression.find(name) else {
            let problem = format!("{}: no gene {name} among its {}", self.matrix.file(), self.genes().len());
            return Err(Error::argument("gene", "name", problem));
        };
        let n_cells = self.matrix.n_cells();
        let wanted: Vec<bool> = (0..self.genes().len()).map(|other| other == gene).collect();
        let mut values = Vec::with_capacity(n_cells);
        for start in (0..n_cells).step_by(READ) {
            going_on(on_progress(Progress { n_done: start, n_cells }))?;
            let cells = start..n_cells.min(start + READ);
            let rows = self.expression.read(self.matrix.as_ref(), cells, Some(&wanted))?;
            values.extend((0..rows.n_rows()).map(|row| rows.row(row).1.first().copied().unwrap_or(0.0)));
        }
        Ok(values)
    }

    /// What the file says about its cells under one name.
    ///
    /// # Errors
    /// [`Error::Argument`] when it says nothing; what [`CellMatrix::cell_column`] says.
    pub fn column(&self, name: &str) -> Result<CellColumn> {
        self.matrix
            .cell_column(name)?
            .ok_or_else(|| no_column(self.matrix.as_ref(), "column", "name", name))
    }

    /// The first two numbers of each cell in an embedding of the file.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none of this name, or it has fewer numbers; what [`CellMatrix::embedding`] says.
    pub fn embedding(&self, name: &str) -> Result<Vec<[f32; 2]>> {
        let refuse = |problem: String| Err(Error::argument("embedding", "name", problem));
        match self.matrix.embedding(name)? {
            Some(embedding) if embedding.n_cols >= 2 => {
                let rows = embedding.values.chunks_exact(embedding.n_cols);
                Ok(rows.map(|row| [row[0], row[1]]).collect())
            }
            Some(embedding) => refuse(format!("{name}: {} numbers a cell; wanted two at least", embedding.n_cols)),
            None => refuse(format!(
                "{}: no embedding {name}; it has {}",
                self.matrix.file(),
                list(self.matrix.embeddings())
            )),
        }
    }

    /// The name of a gene of [`Marker::gene`].
    #[must_use]
    pub fn gene_name(&self, gene: usize) -> &str {
        self.genes().get(gene).map_or("", String::as_str)
    }

    /// For each group the best `n` genes that its cells express more than all others: [`GroupSums::markers`].
    ///
    /// # Errors
    /// What [`GroupSums::new`] says.
    pub fn markers(
        &self,
        groups: &[Option<u32>],
        n_groups: usize,
        n: usize,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Vec<Vec<Marker>>> {
        let genes = (0..self.genes().len()).collect();
        let sums = GroupSums::new(self.matrix.as_ref(), &self.expression, genes, groups, n_groups, on_progress)?;
        Ok((0..n_groups).map(|group| sums.markers(group, n)).collect())
    }

    /// How much, and by how many of its cells, each gene is expressed in each group.
    ///
    /// # Errors
    /// What [`GroupSums::new`] says.
    pub fn dot_plot(
        &self,
        genes: &[String],
        groups: &[Option<u32>],
        n_groups: usize,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<DotPlot> {
        let found: Vec<Option<usize>> = genes.iter().map(|gene| self.expression.find(gene)).collect();
        let mut wanted: Vec<usize> = found.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let sums = GroupSums::new(
            self.matrix.as_ref(),
            &self.expression,
            wanted.clone(),
            groups,
            n_groups,
            on_progress,
        )?;
        let places = found.iter().map(|gene| wanted.binary_search(&(*gene)?).ok());
        let of_all = places.flat_map(|place| (0..n_groups).map(move |group| (place, group)));
        let dots: Vec<(f64, f64)> = of_all
            .map(|(place, group)| place.map_or((f64::NAN, f64::NAN), |place| sums.mean_and_share(place, group)))
            .collect();
        #[expect(clippy::cast_possible_truncation, reason = "means and shares to look at")]
        let narrow = |x: f64| x as f32;
        let missing = genes.iter().zip(&found).filter(|(_, found)| found.is_none());
        Ok(DotPlot {
            mean: dots.iter().map(|dot| narrow(dot.0)).collect(),
            share: dots.iter().map(|dot| narrow(dot.1)).collect(),
            missing: missing.map(|(gene, _)| gene.clone()).collect(),
        })
    }

    /// The table that `scdiva annotate --all-columns` writes, with `--vote` and `--umap` as asked for.
    ///
    /// # Errors
    /// [`Error::Argument`] when `min_probability` is not from 0 to 1.
    pub fn csv(&mut self, min_probability: f32) -> Result<Vec<u8>> {
        self.results.set_min_probability(min_probability, MIN_SHARE)?;
        let mut bytes = Vec::new();
        self.results
            .write_table("CSV", Box::new(CsvTable::new(&mut bytes, b',')), Columns::All)?;
        Ok(bytes)
    }

    /// The `.h5ad` of the user with the answers added, as [`Overlay::into_pieces`] gives it and the length of the whole; a new one, of which
    /// the pieces are all, when the input is another format or empty droplets were left out. The results of an earlier run are replaced.
    ///
    /// # Errors
    /// What [`H5adWriter::open`] and [`H5adWriter::create`] say; [`Error::Cancelled`].
    pub fn h5ad(&mut self, min_probability: f32, on_progress: &mut OnProgress<'_>) -> Result<H5adFile> {
        self.results.set_min_probability(min_probability, MIN_SHARE)?;
        let additions = h5ad_additions(self.results.votes().is_some(), self.results.umap().is_some(), true);
        let name = self.files.name().to_owned();
        let n_cells = self.matrix.n_cells();
        let original = self.own_h5ad();
        let on_original = original.is_some();
        let writer = match original {
            Some(original) => H5adWriter::open(&name, overlay(&self.files, original)?, &additions)?,
            None => {
                let file = new_file(&self.files)?;
                H5adWriter::create(&name, file, self.matrix.as_ref(), &additions, &mut |n_done| {
                    going_on(on_progress(Progress { n_done, n_cells }))
                })?
            }
        };
        let with_umap = self.results.umap().is_some();
        let parameters = h5ad_parameters(self.results.min_probability(), MIN_SHARE, self.votes_of.as_deref(), with_umap);
        let file = self.results.write_h5ad(&name, writer, parameters)?;
        Ok(H5adFile {
            on_original,
            size: file.size(),
            pieces: Box::new(file.into_pieces()),
        })
    }

    /// The input itself, where answers can be added to it: an `.h5ad` whose rows are the cells.
    fn own_h5ad(&self) -> Option<SourceCursor> {
        let (name, source) = self.files.only()?;
        // One in an archive is called by its place there.
        let own = self.matrix.format() == "AnnData (.h5ad)" && self.matrix.file() == name && self.matrix.droplets().is_none();
        own.then(|| SourceCursor::new(Arc::clone(source)))
    }
}

/// An `.h5ad` in pieces.
pub struct H5adFile {
    /// Whether what stands between the pieces is the input's.
    pub on_original: bool,
    /// Length of the whole.
    pub size: u64,
    /// Where each piece stands, and its bytes; rising.
    pub pieces: Box<dyn Iterator<Item = (u64, Vec<u8>)>>,
}

impl Debug for H5adFile {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("H5adFile")
            .field("on_original", &self.on_original)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Of the cells of a group, for its vote to count: the command's default.
const MIN_SHARE: f32 = 0.0;

/// Cells that are read at a time: a multiple of what the chunks of most files have.
const READ: usize = 2048;

fn going_on(answer: ControlFlow<()>) -> Result<()> {
    match answer {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// What is written over a file; one type for all, because whatever writes is compiled for each.
fn overlay(files: &Files, original: SourceCursor) -> Result<Overlay<SourceCursor>> {
    Overlay::new(original).map_err(|source| Error::Io {
        file: files.name().to_owned(),
        source,
    })
}

/// A file in memory.
fn new_file(files: &Files) -> Result<Overlay<SourceCursor>> {
    overlay(files, SourceCursor::new(Arc::new([])))
}

/// [`RunHeader::device`]: what the numbers of a run depend on, which the number of a CPU's threads is not part of.
#[must_use]
pub fn device_of_run(device: &DeviceInfo) -> String {
    let what = match device.gpu {
        Some(_) => device.name.clone(),
        None => Cpu::vectors(),
    };
    format!("{}, {what}", device.kind)
}

fn header(
    scdiva: &ScDiVa,
    files: &Files,
    tokenizer: &Tokenizer<'_>,
    head: &Head,
    min_probability: f32,
    tissue: TissueDecision,
) -> Result<RunHeader> {
    let info = scdiva.info();
    let report = tokenizer.report();
    Ok(RunHeader {
        version: info.version.to_owned(),
        input: RunInput {
            file: report.file.clone(),
            fingerprint: files.fingerprint()?,
            n_cells: report.n_cells,
            report: serde_json::to_value(report).map_err(|error| Error::file(&report.file, "report", error))?,
        },
        model: RunModel {
            name: info.model.config.name,
            hash: scdiva.model_hash()?,
            head: Some(head.name.clone()),
            head_hash: Some(head.hash.clone()),
            labels: head.labels.clone(),
            ontology_ids: head.ontology_ids.clone(),
            n_embedding: scdiva.config().hidden_size,
        },
        device: device_of_run(&info.device),
        min_probability,
        tissue,
        cells: 0..report.n_cells,
    })
}

fn no_column(matrix: &dyn CellMatrix, operation: &'static str, argument: &'static str, column: &str) -> Error {
    let problem = format!(
        "{}: no obs column {column}; it has {}",
        matrix.file(),
        list(matrix.cell_columns())
    );
    Error::argument(operation, argument, problem)
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
