//! The surface for JavaScript of a matrix that stays open.

use super::{Input, JsResult, batch, label_codes, numbers, thrown, to_js};
use crate::ScDiVa;
use crate::analysis::{self, AnalysisOptions, AnalysisStage, Listener, Unfinished};
use crate::cells::CellColumn;
use crate::model::Prediction;
use crate::run::Votes;
use crate::tasks::{CellBlock, Marker, Progress};
use js_sys::{Array, Float32Array, Function, Int32Array, Object, Reflect, Uint8Array, Uint32Array};
use std::ops::ControlFlow;
use wasm_bindgen::prelude::*;

/// [`analysis::Analysis`].
#[wasm_bindgen]
#[derive(Debug)]
pub struct Analysis(analysis::Analysis);

/// Hands on to two functions.
struct Told {
    on_progress: Function,
    on_batch: Function,
    labels: Vec<String>,
}

impl Listener for Told {
    fn progress(&mut self, stage: AnalysisStage, progress: Progress) -> ControlFlow<()> {
        told(&self.on_progress, stage.name(), progress)
    }

    fn block(&mut self, cells: &[String], block: &CellBlock) {
        batch(&self.on_batch, &self.labels, cells, block);
    }
}

/// Calls `on_progress(stage, n_done, n_cells)`; `false` ends the task, and so does an exception.
fn told(on_progress: &Function, stage: &str, progress: Progress) -> ControlFlow<()> {
    let (n_done, n_cells) = (progress.n_done.into(), progress.n_cells.into());
    match on_progress.call3(&JsValue::NULL, &stage.into(), &n_done, &n_cells) {
        Ok(answer) if answer != JsValue::FALSE => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    }
}

#[wasm_bindgen]
impl Analysis {
    pub(super) async fn new(
        scdiva: &mut ScDiVa,
        input: Input,
        options: &AnalysisOptions,
        unfinished: &mut Unfinished,
        on_progress: Function,
        on_batch: Function,
    ) -> JsResult<Self> {
        let mut told = Told {
            on_progress,
            on_batch,
            labels: scdiva.head(options.annotate.head.as_deref()).map_err(thrown)?.labels,
        };
        let Input {
            files,
            opening,
            matching,
        } = input;
        let made = analysis::Analysis::new(scdiva, files, &opening, &matching, options, unfinished, &mut told);
        made.await.map(Self).map_err(thrown)
    }

    /// What there is to know, as the type `Analysis` of `pkg/` describes it.
    pub fn data(&mut self) -> JsResult<Object> {
        let mut cells = Vec::new();
        let mut predictions = Vec::new();
        self.0
            .each(|names, block| {
                cells.extend(names);
                predictions.extend(block.predictions);
                Ok(())
            })
            .map_err(thrown)?;
        let header = self.0.header();
        let model = object([
            ("name", header.model.name.as_str().into()),
            ("hash", header.model.hash.as_str().into()),
            ("head", header.model.head.as_deref().into()),
        ]);
        let codes = |label: fn(&Prediction) -> usize| Int32Array::from(&label_codes(&predictions, label)[..]).into();
        let of = |number: fn(&Prediction) -> f32| floats(&numbers(&predictions, number));
        let qc = self.0.qc();
        let qc = object([
            ("nGenes", Uint32Array::from(&qc.n_genes[..]).into()),
            ("total", floats(&qc.total)),
            ("mitochondrial", floats(&qc.mitochondrial)),
        ]);
        let votes = self.0.votes();
        let vote = |make: fn(&Votes) -> JsValue| votes.map_or(JsValue::NULL, make);
        Ok(object([
            ("cells", texts(&cells)),
            ("labels", texts(&header.model.labels)),
            ("ontologyIds", texts(&header.model.ontology_ids)),
            ("label", codes(|p| p.label)),
            ("probability", of(|p| p.probability)),
            ("secondLabel", codes(|p| p.second_label)),
            ("secondProbability", of(|p| p.second_probability)),
            ("entropy", of(|p| p.entropy)),
            ("cluster", vote(|votes| some_codes(&votes.groups))),
            (
                "clusterNames",
                votes.map_or_else(|| texts(&[]), |votes| texts(&votes.group_names)),
            ),
            ("votedLabel", vote(|votes| some_codes(&votes.labels))),
            ("voteShare", vote(|votes| floats(&votes.shares))),
            (
                "umap",
                self.0.umap().map_or(JsValue::NULL, |umap| floats(umap.as_flattened())),
            ),
            ("qc", qc.into()),
            ("report", to_js(self.0.report())?),
            ("inspection", to_js(self.0.inspection())?),
            ("model", model.into()),
            ("minProbability", header.min_probability.into()),
            ("tissue", header.tissue.name.as_deref().unwrap_or("any").into()),
            ("tissueDecision", header.tissue.text.as_str().into()),
            ("genes", texts(self.0.genes())),
        ]))
    }

    /// One number a cell.
    pub fn gene(&self, name: &str, on_progress: &Function) -> JsResult<Vec<f32>> {
        self.0
            .gene(name, &mut |progress| told(on_progress, "read", progress))
            .map_err(thrown)
    }

    /// `{ kind, categories, codes }` or `{ kind, values }`.
    pub fn column(&self, name: &str) -> JsResult<Object> {
        Ok(match self.0.column(name).map_err(thrown)? {
            CellColumn::Categories { codes, names } => object([
                ("kind", "categories".into()),
                ("categories", texts(&names)),
                ("codes", some_codes(&codes)),
            ]),
            CellColumn::Numbers(values) => {
                #[expect(clippy::cast_possible_truncation, reason = "numbers to look at")]
                let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
                object([("kind", "numbers".into()), ("values", floats(&values))])
            }
        })
    }

    /// `[cells, 2]`
    pub fn embedding(&self, name: &str) -> JsResult<Vec<f32>> {
        let embedding = self.0.embedding(name).map_err(thrown)?;
        Ok(embedding.into_flattened())
    }

    /// For each group the best `n` markers. `groups`: one a cell, −1 for none.
    pub fn markers(&self, groups: &[i32], n_groups: usize, n: usize, on_progress: &Function) -> JsResult<Array> {
        let groups = optional(groups);
        let markers = self
            .0
            .markers(&groups, n_groups, n, &mut |progress| told(on_progress, "read", progress))
            .map_err(thrown)?;
        let marker = |marker: &Marker| {
            object([
                ("gene", self.0.gene_name(marker.gene).into()),
                ("score", marker.score.into()),
                ("log2FoldChange", marker.log2_fold_change.into()),
                ("shareInside", marker.share_inside.into()),
                ("shareOutside", marker.share_outside.into()),
            ])
        };
        Ok(markers
            .iter()
            .map(|group| group.iter().map(marker).collect::<Array>())
            .collect())
    }

    /// `{ mean, share, missing }`
    #[wasm_bindgen(js_name = dotPlot)]
    pub fn dot_plot(&self, genes: Vec<String>, groups: &[i32], n_groups: usize, on_progress: &Function) -> JsResult<Object> {
        let groups = optional(groups);
        let dots = self
            .0
            .dot_plot(&genes, &groups, n_groups, &mut |progress| told(on_progress, "read", progress))
            .map_err(thrown)?;
        Ok(object([
            ("mean", floats(&dots.mean)),
            ("share", floats(&dots.share)),
            ("missing", texts(&dots.missing)),
        ]))
    }

    /// What the command writes.
    pub fn csv(&mut self, min_probability: f32) -> JsResult<Vec<u8>> {
        self.0.csv(min_probability).map_err(thrown)
    }

    /// Calls `on_piece(at, bytes)` for each piece of the file, one after another; gives `{ size, onOriginal }`.
    pub fn h5ad(&mut self, min_probability: f32, on_progress: &Function, on_piece: &Function) -> JsResult<Object> {
        let file = self
            .0
            .h5ad(min_probability, &mut |progress| told(on_progress, "write", progress))
            .map_err(thrown)?;
        let (size, on_original) = (file.size, file.on_original);
        for (at, bytes) in file.pieces {
            #[expect(clippy::cast_precision_loss, reason = "file sizes are under 2^53")]
            on_piece.call2(&JsValue::NULL, &(at as f64).into(), &Uint8Array::from(&bytes[..]))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "file sizes are under 2^53")]
        let size = size as f64;
        Ok(object([("size", size.into()), ("onOriginal", on_original.into())]))
    }
}

fn object<const N: usize>(entries: [(&str, JsValue); N]) -> Object {
    let object = Object::new();
    for (name, value) in entries {
        // Setting a property of a new object cannot fail.
        let _set = Reflect::set(&object, &name.into(), &value);
    }
    object
}

fn texts(texts: &[String]) -> JsValue {
    texts.iter().map(JsValue::from).collect::<Array>().into()
}

fn floats(numbers: &[f32]) -> JsValue {
    Float32Array::from(numbers).into()
}

/// −1 for none.
fn some_codes(codes: &[Option<u32>]) -> JsValue {
    let code = |code: &Option<u32>| code.map_or(-1, |code| i32::try_from(code).unwrap_or(i32::MAX));
    Int32Array::from(&codes.iter().map(code).collect::<Vec<i32>>()[..]).into()
}

/// What is negative is none.
fn optional(groups: &[i32]) -> Vec<Option<u32>> {
    groups.iter().map(|&group| u32::try_from(group).ok()).collect()
}
