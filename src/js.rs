//! The surface for JavaScript, compiled for wasm32 only: each function converts, makes one call and gives the answer back. A failure
//! is an `Error` with a `code` and, like all of it, documented for its reader in `pkg/`.

mod analysis;

use crate::analysis::{AnalysisOptions, Unfinished};
use crate::cells::{CellMatrix, MatchOptions};
use crate::model::{CellInput, ModelFiles, Output, Prediction, Want};
use crate::read::{self, Files, OpenOptions, Source};
use crate::tasks::{AnnotateOptions, CellBlock, CellLabels, FitOptions, OnProgress, Progress, TissueChoice, UNASSIGNED};
use crate::write::csv::{AnnotationWriter, EmbeddingWriter};
use crate::{DeviceChoice, DeviceOptions, Error, ScDiVa};
use js_sys::{Function, Reflect, Uint8Array};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use wasm_bindgen::prelude::*;

type JsResult<T> = Result<T, JsValue>;

#[wasm_bindgen(typescript_custom_section)]
const BYTE_SOURCE: &str = "
/** Bytes that can be read from any place, at once: `read` gives exactly `length` bytes from `offset` on, or throws. */
export interface ByteSource { readonly size: number; read(offset: number, length: number): Uint8Array }
";

#[wasm_bindgen]
extern "C" {
    /// The interface above.
    #[derive(Clone, Debug)]
    #[wasm_bindgen(typescript_type = "ByteSource")]
    pub type ByteSource;
    #[wasm_bindgen(method, getter)]
    fn size(this: &ByteSource) -> f64;
    #[wasm_bindgen(method, catch)]
    fn read(this: &ByteSource, offset: f64, length: f64) -> JsResult<Uint8Array>;
}

thread_local! {
    /// A [`Source`] can be sent to other threads and a JavaScript object cannot, so the objects stay here and sources hold keys.
    static SOURCES: RefCell<(u32, HashMap<u32, ByteSource>)> = RefCell::default();
}

struct JsSource {
    key: u32,
    size: u64,
}

impl JsSource {
    fn new(source: ByteSource) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a length; the cast saturates"
        )]
        let size = source.size() as u64;
        let key = SOURCES.with_borrow_mut(|(next, sources)| {
            *next += 1;
            sources.insert(*next, source);
            *next
        });
        Self { key, size }
    }
}

impl Drop for JsSource {
    fn drop(&mut self) {
        SOURCES.with_borrow_mut(|(_, sources)| sources.remove(&self.key));
    }
}

impl Source for JsSource {
    fn size(&self) -> u64 {
        self.size
    }

    #[expect(clippy::cast_precision_loss, reason = "file sizes are under 2^53")]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let source = SOURCES.with_borrow(|(_, sources)| sources.get(&self.key).cloned());
        let source = source.ok_or_else(|| io::Error::other("read from another thread than the one it was opened in"))?;
        let bytes = source
            .read(offset as f64, out.len() as f64)
            .map_err(|thrown| io::Error::other(text_of(&thrown)))?;
        if bytes.length() as usize != out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.copy_to(out);
        Ok(())
    }
}

/// A matrix, and what its reader decides about how it is read; what is left open is found out.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Input {
    files: Files,
    opening: OpenOptions,
    matching: MatchOptions,
}

#[wasm_bindgen]
impl Input {
    /// `names[i]` is the name of `sources[i]`, with `/` between folders; `name` is what the user calls the whole, or the one file.
    /// Then: which matrix of the file; which column names the genes; `human` or `mouse`; the least counts of a cell.
    ///
    /// # Errors
    /// Throws when `species` is anything else.
    #[wasm_bindgen(constructor)]
    pub fn new(
        name: &str,
        names: Vec<String>,
        sources: Vec<ByteSource>,
        layer: Option<String>,
        gene_column: Option<String>,
        species: Option<String>,
        min_counts: Option<u32>,
    ) -> JsResult<Self> {
        let (mut opening, mut matching) = (OpenOptions::default(), MatchOptions::default());
        opening.layer = layer;
        opening.min_counts = min_counts.map(u64::from);
        matching.gene_column = gene_column;
        matching.species = species.map(|species| species.parse()).transpose().map_err(thrown)?;
        let sources = sources
            .into_iter()
            .map(|source| Arc::new(JsSource::new(source)) as Arc<dyn Source>);
        Ok(Self {
            files: Files::many(name, names.into_iter().zip(sources).collect()),
            opening,
            matching,
        })
    }

    /// The files are several matrices, samples that are looked at together: the name of each, and how many of the files are its, in order.
    #[wasm_bindgen(js_name = setSamples)]
    pub fn set_samples(&mut self, names: Vec<String>, n_files: &[u32]) {
        self.files = self.files.split(names, n_files.iter().map(|&n| n as usize));
    }
}

thread_local! {
    static PANIC: RefCell<Option<String>> = RefCell::default();
}

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| PANIC.set(Some(panic.to_string()))));
}

/// The defect for which the module gave up, and its place. The module also gives up where it gets no memory, and then this is `undefined`.
#[wasm_bindgen(js_name = lastPanic)]
#[must_use]
pub fn last_panic() -> Option<String> {
    PANIC.with_borrow(Clone::clone)
}

/// A model on a device, and what it left unfinished.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Engine(ScDiVa, Unfinished);

#[wasm_bindgen]
#[expect(
    clippy::missing_errors_doc,
    reason = "all of them throw an `Error` with a `code`, which `pkg/` documents for its readers"
)]
impl Engine {
    /// `names[i]` is the name of `sources[i]` inside the model folder `name`.
    pub async fn open(
        name: String,
        names: Vec<String>,
        sources: Vec<ByteSource>,
        device: String,
        precision: String,
    ) -> JsResult<Self> {
        let mut files = ModelFiles::new(name);
        for (name, source) in names.into_iter().zip(sources) {
            files.insert(name, Arc::new(JsSource::new(source)));
        }
        let device: DeviceChoice = device.parse().map_err(thrown)?;
        let options = DeviceOptions {
            precision: precision.parse().map_err(thrown)?,
            ..device.into()
        };
        let scdiva = ScDiVa::open(files, options).await.map_err(thrown)?;
        Ok(Self(scdiva, Unfinished::default()))
    }

    /// [`crate::Info`].
    pub fn info(&self) -> JsResult<JsValue> {
        to_js(&self.0.info())
    }

    /// What a file is to this model: [`crate::cells::Inspection`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is lent cannot be given back after the module gave up"
    )]
    pub fn inspect(&self, input: Input) -> JsResult<JsValue> {
        to_js(&self.0.inspect(&*self.matrix(&input)?, &input.matching))
    }

    /// Cell types of all cells. `on_progress(n_done, n_cells)` ends it by returning `false`.
    pub async fn annotate(
        &mut self,
        input: Input,
        head: Option<String>,
        min_probability: Option<f32>,
        tissue: Option<String>,
        on_progress: Function,
    ) -> JsResult<Annotation> {
        let matrix = self.matrix(&input)?;
        let options = AnnotateOptions {
            head,
            min_probability,
            tissue: chosen(tissue),
        };
        let annotation = self
            .0
            .annotate(&*matrix, &input.matching, &options, &mut *progress(&on_progress))
            .await
            .map_err(thrown)?;
        Annotation::new(matrix.cell_names(0..matrix.n_cells()).map_err(thrown)?, annotation)
    }

    /// Hands cell types over as they come, some hundred cells at a time: `on_batch(from, cells, labels, label, probability, second_label,
    /// second_probability)`, as [`Annotation`] has them. `on_progress` as in `annotate`.
    #[wasm_bindgen(js_name = annotateBatches)]
    pub async fn annotate_batches(
        &mut self,
        input: Input,
        head: Option<String>,
        tissue: Option<String>,
        on_progress: Function,
        on_batch: Function,
    ) -> JsResult<()> {
        let matrix = self.matrix(&input)?;
        let head = self.0.head(head.as_deref()).map_err(thrown)?;
        let tokenizer = self.0.tokenizer(&*matrix, &input.matching).map_err(thrown)?;
        let (head, _) = self
            .0
            .decide_tissue(&tokenizer, &head, &chosen(tissue), &mut |_| ControlFlow::Continue(()))
            .await
            .map_err(thrown)?;
        self.0
            .answer_blocks(
                &tokenizer,
                Some(&head),
                0..matrix.n_cells(),
                &mut *progress(&on_progress),
                &mut |block| {
                    let names = matrix.cell_names(block.cells.clone())?;
                    batch(&on_batch, &head.labels, &names, &block);
                    Ok(())
                },
            )
            .await
            .map_err(thrown)
    }

    /// Cells that were answered by an `analyse` that did not come to its end: the same call goes on from there.
    #[wasm_bindgen(getter, js_name = nUnfinished)]
    pub fn n_unfinished(&self) -> usize {
        self.1.n_cells()
    }

    /// Annotates all cells, looks at them as a whole, and keeps the matrix open. `on_progress(stage, n_done, n_cells)` as in `annotate`;
    /// `on_batch` as in `annotateBatches`.
    #[expect(clippy::too_many_arguments, reason = "JavaScript names them in an object, on its side")]
    pub async fn analyse(
        &mut self,
        input: Input,
        head: Option<String>,
        min_probability: Option<f32>,
        tissue: Option<String>,
        vote: bool,
        groups: Option<String>,
        umap: bool,
        on_progress: Function,
        on_batch: Function,
    ) -> JsResult<analysis::Analysis> {
        let options = AnalysisOptions {
            annotate: AnnotateOptions {
                head,
                min_probability,
                tissue: chosen(tissue),
            },
            vote,
            groups,
            umap,
        };
        analysis::Analysis::new(&mut self.0, input, &options, &mut self.1, on_progress, on_batch).await
    }

    /// The embeddings of all cells. `on_progress` as in `annotate`.
    pub async fn embed(&mut self, input: Input, on_progress: Function) -> JsResult<Embedding> {
        let matrix = self.matrix(&input)?;
        let embedding = self
            .0
            .embed(&*matrix, &input.matching, &mut *progress(&on_progress))
            .await
            .map_err(thrown)?;
        Embedding::new(matrix.cell_names(0..matrix.n_cells()).map_err(thrown)?, embedding)
    }

    /// Fits a head on a column of a reference; it can then be asked for as `name`. `on_progress` as in `annotate`.
    #[wasm_bindgen(js_name = fitHead)]
    pub async fn fit_head(
        &mut self,
        input: Input,
        label_column: String,
        name: String,
        on_progress: Function,
    ) -> JsResult<FittedHead> {
        let matrix = self.matrix(&input)?;
        let labels = CellLabels::of_column(&*matrix, &label_column).map_err(thrown)?;
        let options = FitOptions {
            name,
            ..FitOptions::default()
        };
        let fitted = self
            .0
            .fit_head(&*matrix, &input.matching, &labels, &options, &mut *progress(&on_progress))
            .await
            .map_err(thrown)?;
        let answer = FittedHead {
            labels: fitted.head.labels.clone(),
            report: to_js(&fitted.report)?,
            file: fitted.file,
        };
        self.0.add_head(fitted.head).map_err(thrown)?;
        Ok(answer)
    }

    /// Takes a head that was fitted before; it can then be asked for as `name`.
    #[wasm_bindgen(js_name = addHead)]
    pub fn add_head(&mut self, name: &str, source: ByteSource) -> JsResult<()> {
        let source: Arc<dyn Source> = Arc::new(JsSource::new(source));
        let head = self.0.read_head(name, name, &source).map_err(thrown)?;
        self.0.add_head(head).map_err(thrown)
    }

    /// The forward pass on one cell's tokens, everything but the attention maps: for checking a checkpoint against another program.
    pub async fn forward(&mut self, gene_ids: Vec<u32>, values: Vec<f32>, masked: Vec<u8>) -> JsResult<Forward> {
        let masked: Vec<bool> = masked.into_iter().map(|masked| masked != 0).collect();
        let cell = CellInput {
            gene_ids: &gene_ids,
            values: &values,
            masked: Some(&masked),
            attended: None,
        };
        let want = Want {
            hidden: true,
            gene_logits: true,
            values: true,
            ..Want::default()
        };
        Ok(self.0.forward(&[cell], want).await.map_err(thrown)?.into())
    }

    fn matrix(&self, input: &Input) -> JsResult<Box<dyn CellMatrix>> {
        read::open(&input.files, &input.opening, self.0.vocabulary()).map_err(thrown)
    }
}

/// Cell types; one entry a cell in the arrays without another note.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct Annotation {
    /// Names of the cells.
    pub cells: Vec<String>,
    /// What `label` counts.
    pub labels: Vec<String>,
    /// Their Cell Ontology ids, empty where there is none.
    #[wasm_bindgen(js_name = ontologyIds)]
    pub ontology_ids: Vec<String>,
    /// Index of the most probable label; −1 for a cell without a gene that the model knows.
    pub label: Vec<i32>,
    /// Its probability; NaN where there is none.
    pub probability: Vec<f32>,
    /// Index of the runner-up, or −1.
    #[wasm_bindgen(js_name = secondLabel)]
    pub second_label: Vec<i32>,
    /// Its probability; NaN where there is none.
    #[wasm_bindgen(js_name = secondProbability)]
    pub second_probability: Vec<f32>,
    /// [`crate::cells::InputReport`].
    pub report: JsValue,
    /// The threshold that was used; 0 for none.
    #[wasm_bindgen(js_name = minProbability)]
    pub min_probability: f32,
    /// The tissue whose labels were given; `any` for all.
    pub tissue: String,
    /// Why, in words; empty where the head tells no tissues apart.
    #[wasm_bindgen(js_name = tissueDecision)]
    pub tissue_decision: String,
    /// What `scdiva annotate` writes.
    pub csv: Vec<u8>,
}

/// Indices of labels, −1 for none.
fn label_codes(predictions: &[Option<Prediction>], label: fn(&Prediction) -> usize) -> Vec<i32> {
    let code = |p: &Option<Prediction>| p.as_ref().map_or(-1, |p| i32::try_from(label(p)).unwrap_or(i32::MAX));
    predictions.iter().map(code).collect()
}

/// Numbers of predictions, NaN for none.
fn numbers(predictions: &[Option<Prediction>], number: fn(&Prediction) -> f32) -> Vec<f32> {
    predictions.iter().map(|p| p.as_ref().map_or(f32::NAN, number)).collect()
}

/// Calls `on_batch` with some cells' answers.
fn batch(on_batch: &Function, labels: &[String], cells: &[String], block: &CellBlock) {
    let texts = |texts: &[String]| JsValue::from(texts.iter().map(JsValue::from).collect::<js_sys::Array>());
    let predictions = &block.predictions;
    let arguments = [
        block.cells.start.into(),
        texts(cells),
        texts(labels),
        js_sys::Int32Array::from(&label_codes(predictions, |p| p.label)[..]).into(),
        js_sys::Float32Array::from(&numbers(predictions, |p| p.probability)[..]).into(),
        js_sys::Int32Array::from(&label_codes(predictions, |p| p.second_label)[..]).into(),
        js_sys::Float32Array::from(&numbers(predictions, |p| p.second_probability)[..]).into(),
    ];
    // What the listener throws is its own business.
    let _ignored = on_batch.apply(&JsValue::NULL, &arguments.into_iter().collect());
}

impl Annotation {
    fn new(cells: Vec<String>, annotation: crate::tasks::Annotation) -> JsResult<Self> {
        let csv = annotation_csv(&cells, &annotation).map_err(|error| thrown(written(error)))?;
        let predictions = &annotation.predictions;
        Ok(Self {
            label: label_codes(predictions, |p| p.label),
            probability: numbers(predictions, |p| p.probability),
            second_label: label_codes(predictions, |p| p.second_label),
            second_probability: numbers(predictions, |p| p.second_probability),
            report: to_js(&annotation.report)?,
            min_probability: annotation.min_probability,
            tissue: annotation.tissue.name.unwrap_or_else(|| "any".to_owned()),
            tissue_decision: annotation.tissue.text,
            csv,
            cells,
            labels: annotation.labels,
            ontology_ids: annotation.ontology_ids,
        })
    }
}

fn annotation_csv(cells: &[String], annotation: &crate::tasks::Annotation) -> io::Result<Vec<u8>> {
    let mut writer = AnnotationWriter::new(Vec::new())?;
    for (i, cell) in cells.iter().enumerate() {
        let prediction = annotation.predictions[i];
        let best = prediction.map(|p| (annotation.label(i).unwrap_or(UNASSIGNED), p.probability));
        let second = prediction.map(|p| (annotation.labels[p.second_label].as_str(), p.second_probability));
        writer.write_row(cell, best, second)?;
    }
    writer.finish()
}

/// Embeddings.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct Embedding {
    /// Names of the cells.
    pub cells: Vec<String>,
    /// Numbers a cell, D.
    #[wasm_bindgen(js_name = nCols)]
    pub n_cols: usize,
    /// `[n_cells, D]`, row-major.
    pub values: Vec<f32>,
    /// Cells without a gene that the model knows: their row says nothing about them.
    #[wasm_bindgen(js_name = emptyCells)]
    pub empty_cells: Vec<usize>,
    /// [`crate::cells::InputReport`].
    pub report: JsValue,
    /// What `scdiva embed -o OUT.csv` writes.
    pub csv: Vec<u8>,
}

impl Embedding {
    fn new(cells: Vec<String>, embedding: crate::tasks::Embedding) -> JsResult<Self> {
        let csv = embedding_csv(&cells, &embedding).map_err(|error| thrown(written(error)))?;
        Ok(Self {
            report: to_js(&embedding.report)?,
            csv,
            cells,
            n_cols: embedding.n_cols,
            values: embedding.values,
            empty_cells: embedding.empty_cells,
        })
    }
}

fn embedding_csv(cells: &[String], embedding: &crate::tasks::Embedding) -> io::Result<Vec<u8>> {
    let mut writer = EmbeddingWriter::new(Vec::new(), embedding.n_cols)?;
    for (cell, row) in cells.iter().zip(embedding.values.chunks_exact(embedding.n_cols)) {
        writer.write_row(cell, row)?;
    }
    writer.finish()
}

/// A head that was fitted.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct FittedHead {
    /// The types that it knows.
    pub labels: Vec<String>,
    /// [`crate::tasks::FitReport`].
    pub report: JsValue,
    /// Its file, `.safetensors`.
    pub file: Vec<u8>,
}

/// One cell's forward pass: D numbers; `[L, D]`; `[L, V]`; `[L]`.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct Forward {
    /// `[D]`
    pub latent: Vec<f32>,
    /// `[L, D]`
    pub hidden: Vec<f32>,
    /// `[L, V]`
    #[wasm_bindgen(js_name = geneLogits)]
    pub gene_logits: Vec<f32>,
    /// `[L]`
    pub values: Vec<f32>,
}

impl From<Output> for Forward {
    fn from(output: Output) -> Self {
        Self {
            latent: output.latent,
            hidden: output.hidden.concat(),
            gene_logits: output.gene_logits.concat(),
            values: output.values.concat(),
        }
    }
}

fn chosen(tissue: Option<String>) -> TissueChoice {
    tissue.as_deref().map(Into::into).unwrap_or_default()
}

/// Calls `on_progress(n_done, n_cells)`; `false` ends the task, and so does an exception.
fn progress(on_progress: &Function) -> Box<OnProgress<'_>> {
    Box::new(|Progress { n_done, n_cells }| {
        let goes_on = on_progress.call2(&JsValue::NULL, &n_done.into(), &n_cells.into());
        match goes_on {
            Ok(answer) if answer != JsValue::FALSE => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    })
}

fn to_js(value: &impl Serialize) -> JsResult<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true);
    value
        .serialize(&serializer)
        .map_err(|error| js_sys::Error::new(&error.to_string()).into())
}

/// An `Error` with the message and the code of `error`.
fn thrown(error: Error) -> JsValue {
    let thrown = js_sys::Error::new(&error.to_string());
    // Setting a property of a new object cannot fail.
    let _set = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}

fn written(source: io::Error) -> Error {
    Error::Io {
        file: "CSV".to_owned(),
        source,
    }
}

fn text_of(thrown: &JsValue) -> String {
    thrown
        .dyn_ref::<js_sys::Error>()
        .map_or_else(|| format!("{thrown:?}"), |error| error.message().into())
}
