//! A model on the device that was chosen: the public face of the library.

use crate::backend::Backend;
use crate::cells::{CellMatrix, Inspection, MatchOptions, Tokenizer, Vocabulary, inspect};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{Counters, Gpu, GpuInfo, GpuOptions, Precision, Tuning};
use crate::model::{CellInput, Checkpoint, Config, Head, Model, ModelFiles, Output, Want, self_test};
use crate::read::Source;
use crate::tasks::{
    self, AnnotateOptions, Annotation, CellBlock, CellLabels, Embedding, FindNeighbours, Fit, FitOptions, FittedHead,
    NeighbourOptions, Neighbours, OnProgress, Runner, TissueChoice, TissueDecision,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// How often a lost device is opened again in one task.
const MAX_LOSSES: usize = 2;

/// Which device computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// A real GPU if there is one that works, else the CPU; [`DeviceInfo::reason`] says why.
    #[default]
    Auto,
    /// Any adapter, software ones too; an error when there is none.
    Gpu,
    /// The CPU.
    Cpu,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            other => Err(Error::argument(
                "open",
                "device",
                format_args!("{other:?}, wanted auto, gpu or cpu"),
            )),
        }
    }
}

/// Which device computes, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Which device.
    pub device: DeviceChoice,
    /// How exactly a GPU computes products; the CPU computes in f32.
    pub precision: Precision,
    /// What [`ScDiVa::tuning`] said before, of this GPU or of others.
    pub tunings: Vec<Tuning>,
}

impl From<DeviceChoice> for DeviceOptions {
    fn from(device: DeviceChoice) -> Self {
        Self {
            device,
            ..Self::default()
        }
    }
}

/// The device in use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceInfo {
    /// `gpu` or `cpu`.
    pub kind: &'static str,
    /// The adapter, or what the CPU computes with; and the precision, where that is not f32.
    pub name: String,
    /// Why this device, when [`DeviceChoice::Auto`] passed over another.
    pub reason: Option<String>,
    /// More about a GPU.
    pub gpu: Option<GpuInfo>,
}

/// The model in use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The sizes.
    pub config: Config,
    /// All parameters.
    pub n_parameters: usize,
    /// Genes of the vocabulary; `None` when the model has none.
    pub n_genes: Option<usize>,
    /// Names of the heads.
    pub heads: Vec<String>,
    /// `[n_heads]`: names of the tissues that each of them tells apart; none for one that tells none, or cannot be read.
    pub tissues: Vec<Vec<String>>,
    /// Names of those that were added: [`ScDiVa::add_head`].
    pub own_heads: Vec<String>,
}

/// What is in use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// Version of this library.
    pub version: &'static str,
    /// The device.
    pub device: DeviceInfo,
    /// The model.
    pub model: ModelInfo,
}

/// A model on a device.
///
/// ```no_run
/// # async fn example() -> scdiva::Result<()> {
/// use scdiva::{DeviceChoice, ModelFiles, ScDiVa, read};
/// use std::{ops::ControlFlow, path::Path, sync::Arc};
///
/// let files = ModelFiles::from_folder(Path::new("models/mini"))?;
/// let mut scdiva = ScDiVa::open(files, DeviceChoice::Auto).await?;
/// let source = Arc::new(read::FileSource::open(Path::new("pbmc.h5ad"))?);
/// let matrix = read::open(&read::Files::one("pbmc.h5ad", source), &Default::default(), scdiva.vocabulary())?;
/// let annotation = scdiva.annotate(&*matrix, &Default::default(), &Default::default(), &mut |_| ControlFlow::Continue(())).await?;
/// println!("{}: {}", matrix.cell_names(0..1)?[0], annotation.label(0).unwrap_or("none"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ScDiVa {
    files: ModelFiles,
    vocabulary: Option<Vocabulary>,
    options: DeviceOptions,
    reason: Option<String>,
    loaded: Loaded,
    /// Those that are not the model's.
    own_heads: BTreeMap<String, Head>,
    n_losses: usize,
    /// By what the work of a submit is divided, since the device was lost.
    caution: u32,
    /// Rows of a batch that fit the device's memory, as far as this task knows.
    fitting_rows: usize,
}

#[derive(Debug)]
enum Loaded {
    Cpu(Box<Model<Cpu>>),
    Gpu(Box<Model<Gpu>>),
}

/// Runs an expression on the model, whichever device it is on.
macro_rules! on_device {
    ($loaded:expr, $model:ident => $body:expr) => {
        match $loaded {
            Loaded::Cpu($model) => $body,
            Loaded::Gpu($model) => $body,
        }
    };
}

impl ScDiVa {
    /// Opens a device, lets it prove itself on a small model with a stored answer, and brings the weights to it.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Io`] for the model's files; [`Error::NoDevice`], [`Error::Device`] when `device` is not to be had; [`Error::Memory`]
    /// when the model does not fit it.
    pub async fn open(files: ModelFiles, device: impl Into<DeviceOptions>) -> Result<Self> {
        let options = device.into();
        let checkpoint = Checkpoint::open(&files)?;
        let config = &checkpoint.config;
        let vocabulary = files.vocabulary(config)?;
        let (loaded, reason) = match options.device {
            DeviceChoice::Cpu if options.precision == Precision::F16 => {
                let problem = "f16, but the CPU computes in f32; wanted f32 or auto, or a GPU";
                return Err(Error::argument("open", "precision", problem));
            }
            DeviceChoice::Cpu => (cpu(checkpoint).await?, None),
            DeviceChoice::Gpu => (gpu(checkpoint, &options, true, 1).await?, None),
            DeviceChoice::Auto => match gpu(checkpoint.clone(), &options, false, 1).await {
                Ok(loaded) => (loaded, None),
                Err(e @ (Error::NoDevice(_) | Error::Device { .. } | Error::DeviceLost { .. } | Error::Memory { .. })) => {
                    (cpu(checkpoint).await?, Some(e.to_string()))
                }
                Err(e) => return Err(e),
            },
        };
        Ok(Self {
            files,
            vocabulary,
            options,
            reason,
            loaded,
            own_heads: BTreeMap::new(),
            n_losses: 0,
            caution: 1,
            fitting_rows: usize::MAX,
        })
    }

    /// Which kernels the GPU was found to compute quickest with: worth keeping for the next [`ScDiVa::open`] on it. `None` where nothing was
    /// measured.
    #[must_use]
    pub fn tuning(&self) -> Option<&Tuning> {
        match &self.loaded {
            Loaded::Cpu(_) => None,
            Loaded::Gpu(model) => model.backend().tuning(),
        }
    }

    /// What is in use.
    #[must_use]
    pub fn info(&self) -> Info {
        let (kind, name, gpu) = match &self.loaded {
            Loaded::Cpu(model) => ("cpu", model.backend().describe(), None),
            Loaded::Gpu(model) => {
                let f16 = self.options.precision == Precision::F16;
                let name = model.backend().name() + if f16 { ", f16" } else { "" };
                ("gpu", name, Some(model.backend().info().clone()))
            }
        };
        let checkpoint = on_device!(&self.loaded, model => model.checkpoint());
        let tissues = |name: &String| {
            let head = self.head(Some(name)).ok();
            head.map_or_else(Vec::new, |head| head.tissues.into_iter().map(|tissue| tissue.name).collect())
        };
        Info {
            version: env!("CARGO_PKG_VERSION"),
            device: DeviceInfo {
                kind,
                name,
                reason: self.reason.clone(),
                gpu,
            },
            model: ModelInfo {
                config: checkpoint.config.clone(),
                n_parameters: checkpoint.n_parameters(),
                n_genes: self.vocabulary.as_ref().map(|v| v.genes().len()),
                heads: self.files.heads(),
                tissues: self.files.heads().iter().map(tissues).collect(),
                own_heads: self.own_heads.keys().cloned().collect(),
            },
        }
    }

    /// The sizes of the model.
    #[must_use]
    pub fn config(&self) -> &Config {
        &on_device!(&self.loaded, model => model.checkpoint()).config
    }

    /// The genes that the model knows, for [`crate::read::open`]; `None` for a model without `vocab.tsv`.
    #[must_use]
    pub const fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.as_ref()
    }

    /// What a matrix is to the model, also one that it cannot use. No device is asked.
    #[must_use]
    pub fn inspect(&self, matrix: &dyn CellMatrix, matching: &MatchOptions) -> Inspection {
        inspect(matrix, self.vocabulary(), &self.config().preprocess, matching)
    }

    /// Matches a matrix with the model; its report says what was found and decided. [`ScDiVa::annotate`] and [`ScDiVa::embed`] do this themselves.
    ///
    /// # Errors
    /// [`Error::File`] when the model has no `vocab.tsv`, and whatever [`Tokenizer::new`] finds wrong with the matrix.
    pub fn tokenizer<'a>(&self, matrix: &'a dyn CellMatrix, matching: &MatchOptions) -> Result<Tokenizer<'a>> {
        let config = self.config();
        let Some(vocabulary) = &self.vocabulary else {
            self.files.require("vocab.tsv")?;
            return Err(Error::file(
                self.files.path("vocab.tsv"),
                "file",
                "not read when the model was opened",
            ));
        };
        Tokenizer::new(
            matrix,
            vocabulary,
            &config.preprocess,
            config.serialization,
            config.max_genes,
            matching,
        )
    }

    /// Reads a head: the one named, of the model or added, or the model's only one.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none or the choice is open, [`Error::File`] when it is broken.
    pub fn head(&self, name: Option<&str>) -> Result<Head> {
        if let Some(own) = name.and_then(|name| self.own_heads.get(name)) {
            return Ok(own.clone());
        }
        let mut heads = self.files.heads();
        let name = match (name, heads.as_slice()) {
            (Some(name), heads) if heads.iter().any(|head| head == name) => name,
            (None, [only]) => only,
            (name, _) => {
                heads.extend(self.own_heads.keys().cloned());
                let wanted = if heads.is_empty() {
                    "but the model has no heads/NAME.safetensors".to_owned()
                } else {
                    format!("wanted one of {}", heads.join(", "))
                };
                return Err(Error::argument(
                    "annotate",
                    "head",
                    format_args!("{}, {wanted}", name.unwrap_or("none given")),
                ));
            }
        };
        Head::open(&self.files, name, self.config().hidden_size)
    }

    /// Reads a head that is not the model's; `file` is how the user calls it.
    ///
    /// # Errors
    /// What [`Head::read`] says, also to a head that was fitted on another model.
    pub fn read_head(&self, name: &str, file: &str, source: &Arc<dyn Source>) -> Result<Head> {
        Head::read(&self.files, name, file, source, self.config().hidden_size)
    }

    /// Makes a head one that can be asked for by name; it takes the place of one that was added before.
    ///
    /// # Errors
    /// [`Error::Argument`] when the model itself has one of this name.
    pub fn add_head(&mut self, head: Head) -> Result<()> {
        if self.files.heads().contains(&head.name) {
            let problem = format!("{:?} is a head of the model; wanted another name", head.name);
            return Err(Error::argument("add_head", "name", problem));
        }
        self.own_heads.insert(head.name.clone(), head);
        Ok(())
    }

    /// Fits a head on the labels of a reference, over the model as it is: a network of one hidden layer on the cell embeddings, calibrated on
    /// cells that are held out. A label that a head of the model has too gets its Cell Ontology id. Progress counts the cells that are used.
    ///
    /// # Errors
    /// [`Error::Argument`] when labels are not of these cells or fewer than two types have enough; else as [`ScDiVa::annotate`].
    ///
    /// ```no_run
    /// # async fn example(scdiva: &mut scdiva::ScDiVa, matrix: &dyn scdiva::cells::CellMatrix) -> scdiva::Result<()> {
    /// use scdiva::tasks::{AnnotateOptions, CellLabels, FitOptions};
    /// use std::ops::ControlFlow;
    ///
    /// let labels = CellLabels::of_column(matrix, "cell_type")?;
    /// let fitted = scdiva.fit_head(matrix, &Default::default(), &labels, &FitOptions::default(), &mut |_| ControlFlow::Continue(())).await?;
    /// println!("{}", fitted.report);
    /// scdiva.add_head(fitted.head)?; // from now on AnnotateOptions { head: Some("reference".to_owned()), .. }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fit_head(
        &mut self,
        matrix: &dyn CellMatrix,
        matching: &MatchOptions,
        labels: &CellLabels,
        options: &FitOptions,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<FittedHead> {
        let tokenizer = self.tokenizer(matrix, matching)?;
        let fit = Fit {
            tokenizer: &tokenizer,
            labels,
            options,
            model_hash: self.files.weights_hash()?,
            ontology_ids: self.ontology_ids()?,
        };
        self.begin();
        let (file, report) = tasks::fit_head(self, fit, on_progress).await?;
        let source: Arc<dyn Source> = Arc::new(file.clone());
        let head = self.read_head(&options.name, &options.name, &source)?;
        Ok(FittedHead { head, file, report })
    }

    /// Of the labels of the model's heads.
    fn ontology_ids(&self) -> Result<HashMap<String, String>> {
        let mut ids = HashMap::new();
        for name in self.files.heads() {
            let head = self.head(Some(&name))?;
            ids.extend(head.labels.into_iter().zip(head.ontology_ids));
        }
        Ok(ids)
    }

    /// Cell types of all cells. Source: spec section 6.
    ///
    /// # Errors
    /// Whatever is wrong with the matrix or the head; [`Error::Cancelled`]; [`Error::DeviceLost`] after two losses;
    /// [`Error::Memory`] where not even one cell at a time fits.
    pub async fn annotate(
        &mut self,
        matrix: &dyn CellMatrix,
        matching: &MatchOptions,
        options: &AnnotateOptions,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Annotation> {
        let head = self.head(options.head.as_deref())?;
        let tokenizer = self.tokenizer(matrix, matching)?;
        self.begin();
        tasks::annotate(self, &head, &tokenizer, options, on_progress).await
    }

    /// Which tissue's labels may be given for a matrix, and the head that gives only these: [`TissueChoice`]. [`ScDiVa::annotate`] does this
    /// itself. Progress counts the cells that are looked at, up to 512.
    ///
    /// # Errors
    /// [`Error::Argument`] for a tissue that the head does not know; as [`ScDiVa::annotate`].
    pub async fn decide_tissue(
        &mut self,
        tokenizer: &Tokenizer<'_>,
        head: &Head,
        choice: &TissueChoice,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<(Head, TissueDecision)> {
        self.begin();
        tasks::decide_tissue(self, tokenizer, head, choice, on_progress).await
    }

    /// The cell embeddings, D numbers a cell.
    ///
    /// # Errors
    /// As [`ScDiVa::annotate`].
    pub async fn embed(
        &mut self,
        matrix: &dyn CellMatrix,
        matching: &MatchOptions,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Embedding> {
        let tokenizer = self.tokenizer(matrix, matching)?;
        let n_cols = self.config().hidden_size;
        self.begin();
        tasks::embed(self, n_cols, &tokenizer, on_progress).await
    }

    /// Embeddings, and with a head cell types, of some cells, block after block of [`tasks::BLOCK`] cells: `sink` takes each as soon as it is
    /// there, so that memory does not grow with the number of cells. `cells` must start at a multiple of that; progress counts them.
    ///
    /// # Errors
    /// As [`ScDiVa::annotate`]; [`Error::Argument`] for cells that the matrix does not have or that start elsewhere; what `sink` says.
    pub async fn answer_blocks(
        &mut self,
        tokenizer: &Tokenizer<'_>,
        head: Option<&Head>,
        cells: Range<usize>,
        on_progress: &mut OnProgress<'_>,
        sink: &mut dyn FnMut(CellBlock) -> Result<()>,
    ) -> Result<()> {
        let n_cells = tokenizer.report().n_cells;
        let begins_well = cells.is_empty() || cells.start.is_multiple_of(tasks::BLOCK);
        if cells.start > cells.end || cells.end > n_cells || !begins_well {
            let problem = format!(
                "{} to {}; wanted a range of the {n_cells} cells that starts at a multiple of {}",
                cells.start,
                cells.end,
                tasks::BLOCK
            );
            return Err(Error::argument("answer_blocks", "cells", problem));
        }
        self.begin();
        tasks::answer_blocks(self, tokenizer, head, cells, on_progress, sink).await
    }

    /// SHA-256 over the names and bytes of all files of the model, in hexadecimal: the same for the same model, wherever it lies.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read.
    pub fn model_hash(&self) -> Result<String> {
        self.files.hash()
    }

    /// The forward pass on tokens, batch after batch. Source: spec section 3.
    ///
    /// # Errors
    /// [`Error::Argument`] for tokens that do not fit the model; [`Error::Device`]; [`Error::DeviceLost`] after two losses;
    /// [`Error::Memory`] where not even one cell at a time fits.
    pub async fn forward(&mut self, cells: &[CellInput<'_>], want: Want) -> Result<Output> {
        self.begin();
        let mut whole = Output::default();
        let mut first = 0;
        while first < cells.len() {
            let mut n_rows = 0;
            let fitting = cells[first..].iter().take_while(|cell| {
                n_rows += cell.gene_ids.len() + 1;
                n_rows <= self.max_rows()
            });
            let end = first + fitting.count().max(1);
            match Runner::forward(self, &cells[first..end], want).await {
                Ok(output) => {
                    whole.append(output);
                    first = end;
                }
                // A batch that can be repeated, perhaps a smaller one.
                Err(error) => self.recover(error).await?,
            }
        }
        Ok(whole)
    }

    /// A task is not held to what happened in those before.
    const fn begin(&mut self) {
        (self.n_losses, self.fitting_rows) = (0, usize::MAX);
    }

    /// Takes the device away, as a driver reset would. For tests of recovery; does nothing on the CPU.
    #[doc(hidden)]
    pub fn lose_device(&self) {
        if let Loaded::Gpu(model) = &self.loaded {
            model.backend().destroy();
        }
    }

    /// What the GPU was asked to do since it was opened; `None` on the CPU.
    #[must_use]
    pub fn counters(&self) -> Option<Counters> {
        match &self.loaded {
            Loaded::Cpu(_) => None,
            Loaded::Gpu(model) => Some(model.backend().counters()),
        }
    }

    /// The most rows (genes and one `[LAT]` a cell) of a batch; fewer after memory ran out in the last task.
    #[must_use]
    pub fn batch_rows(&self) -> usize {
        self.max_rows()
    }

    /// Leaves a GPU `bytes` of memory beside the model, as where other programs have the rest. For tests of recovery; does nothing on the CPU.
    #[doc(hidden)]
    pub fn limit_memory(&self, bytes: u64) {
        if let Loaded::Gpu(model) = &self.loaded {
            model.backend().limit_memory(bytes);
        }
    }
}

impl Runner for ScDiVa {
    fn max_rows(&self) -> usize {
        on_device!(&self.loaded, model => model.max_rows().min(model.backend().batch_rows())).min(self.fitting_rows)
    }

    async fn forward(&self, cells: &[CellInput<'_>], want: Want) -> Result<Output> {
        on_device!(&self.loaded, model => model.forward(cells, want).await)
    }

    async fn recover(&mut self, error: Error) -> Result<()> {
        if let (Error::Memory { .. }, Loaded::Gpu(model)) = (&error, &mut self.loaded) {
            model.memory_ran_out();
        }
        match error {
            Error::DeviceLost { .. } if self.n_losses < MAX_LOSSES => {
                self.n_losses += 1;
                // Twice is no accident: drivers also take a device away that asks for too much.
                if self.n_losses == MAX_LOSSES {
                    self.fitting_rows = self.max_rows() / 2;
                }
            }
            // Down to cells one by one; then nothing is left to try.
            Error::Memory { .. } if self.max_rows() > 1 => {
                self.fitting_rows = self.max_rows() / 2;
                return Ok(());
            }
            _ => return Err(error),
        }
        let Loaded::Gpu(lost) = &self.loaded else {
            return Err(error);
        };
        let lost = lost.backend().info().clone();
        // What was measured on it is not measured again. Nor is it given as much work at a time.
        if let Some(tuning) = self.tuning().cloned() {
            self.options.tunings = vec![tuning];
        }
        self.caution = self.caution.saturating_mul(4);
        let again = gpu(Checkpoint::open(&self.files)?, &self.options, lost.software, self.caution).await;
        // The same device as before, or none: nothing is swapped silently.
        match again {
            Ok(Loaded::Gpu(model)) if model.backend().info().adapter == lost.adapter => self.loaded = Loaded::Gpu(model),
            Ok(_) | Err(Error::NoDevice(_)) => return Err(error),
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

/// Up to so many cells a GPU compares every pair: by its arithmetic (2.6 TFLOP) some seconds on a small one; not measured yet. Of more the CPU finds
/// neighbours nearly as well.
const EXACT_ON_GPU: usize = 100_000;

/// The same of an adapter that computes on the CPU, which the CPU's own loops outdo: what it does is seen, and costs little.
const EXACT_IN_SOFTWARE: usize = 2_000;

impl FindNeighbours for ScDiVa {
    async fn find_neighbours(
        &mut self,
        values: &[f32],
        n_cols: usize,
        empty_cells: &[usize],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Neighbours> {
        let mut options = NeighbourOptions::default();
        let n_cells = values.len() / n_cols.max(1);
        if let Loaded::Gpu(model) = &self.loaded
            && let exact_up_to = if model.backend().info().software {
                EXACT_IN_SOFTWARE
            } else {
                EXACT_ON_GPU
            }
            && n_cells <= exact_up_to
        {
            let found = tasks::neighbours_on(model.backend(), values, n_cols, empty_cells, options.k, on_progress).await;
            // A device that is gone is no reason to lose what it answered before; the answer stays the one that it would have given.
            if !matches!(
                found,
                Err(Error::DeviceLost { .. } | Error::Device { .. } | Error::Memory { .. })
            ) {
                return found;
            }
            options.exact_up_to = n_cells;
        }
        tasks::neighbours(values, n_cols, empty_cells, &options, on_progress)
    }
}

async fn cpu(checkpoint: Checkpoint) -> Result<Loaded> {
    let cpu = self_test::prove(Cpu::new()).await?;
    Ok(Loaded::Cpu(Box::new(Model::load(cpu, checkpoint)?)))
}

/// A GPU that gave the right answer with each of the kernels that it chose: what is small would be computed by one of them alone.
async fn proven(mut gpu: Gpu) -> Result<Gpu> {
    let chosen = gpu.linear_kernels();
    for (i, kernel) in chosen.into_iter().enumerate() {
        if !chosen[..i].contains(&kernel) {
            gpu.set_linear_kernels([kernel; 3]);
            gpu = self_test::prove(gpu).await?;
        }
    }
    gpu.set_linear_kernels(chosen);
    Ok(gpu)
}

async fn gpu(checkpoint: Checkpoint, options: &DeviceOptions, allow_software: bool, caution: u32) -> Result<Loaded> {
    let options = GpuOptions {
        allow_software,
        caution,
        precision: options.precision,
        tunings: options.tunings.clone(),
        ..GpuOptions::default()
    };
    let model = Model::load(proven(Gpu::open(options).await?).await?, checkpoint)?;
    model.backend().arrived().await?;
    Ok(Loaded::Gpu(Box::new(model)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::LinearKernel;

    fn lost() -> Error {
        Error::DeviceLost {
            device: "gpu".to_owned(),
            reason: "taken away".to_owned(),
        }
    }

    #[test]
    fn a_device_is_lost_twice_in_a_task_and_no_more() {
        let files = self_test::files().expect("files");
        let mut scdiva = pollster::block_on(ScDiVa::open(files, DeviceChoice::Gpu)).expect("an adapter");
        let (rows, name) = (scdiva.max_rows(), scdiva.info().device.name);
        pollster::block_on(scdiva.recover(lost())).expect("the same adapter");
        assert_eq!((scdiva.max_rows(), scdiva.caution), (rows, 4));
        pollster::block_on(scdiva.recover(lost())).expect("the same adapter");
        assert_eq!((scdiva.max_rows(), scdiva.caution), (rows / 2, 16));
        assert_eq!(scdiva.info().device.name, name);
        let third = pollster::block_on(scdiva.recover(lost()));
        assert!(matches!(third, Err(Error::DeviceLost { .. })), "{third:?}");
        // The next task begins anew.
        scdiva.begin();
        pollster::block_on(scdiva.recover(lost())).expect("the same adapter");
        assert_eq!(scdiva.max_rows(), rows);
    }

    #[test]
    fn a_device_that_computes_wrongly_is_refused_whichever_of_its_kernels_does() {
        for wrong in 0..3 {
            let mut gpu = pollster::block_on(Gpu::open(GpuOptions::default())).expect("an adapter");
            let mut kernels = [LinearKernel::Registers, LinearKernel::Tile64, LinearKernel::Tile128];
            gpu.set_linear_kernels(kernels);
            gpu = pollster::block_on(proven(gpu)).expect("three kernels that are right");
            assert_eq!(gpu.linear_kernels(), kernels);
            kernels[wrong] = LinearKernel::Wrong;
            gpu.set_linear_kernels(kernels);
            let refused = pollster::block_on(proven(gpu)).expect_err("a wrong kernel").to_string();
            assert!(refused.contains("self-test"), "{refused}");
        }
    }
}
