//! The whole model on any backend against the goldens and the reference, and what must not change its answers.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "several test files share this, each uses a part; numbers are chosen to fit, and a failure is a failed test"
)]

use crate::reference::model::{self, Answer, Cell, Sizes};
use crate::reference::{Mat, rms};
use crate::support::checkpoint;
use crate::support::goldens::Golden;
use safetensors::Dtype;
use scdiva::backend::Backend;
use scdiva::model::{CellInput, Checkpoint, Model, ModelFiles, Output, Want};
use std::sync::Arc;

/// The largest error that is taken against f64, as a share of a tensor's RMS.
const TOLERANCE: f64 = 2e-4;

/// The largest difference between two ways of one backend to the same answer, as a share of its RMS: only the order of sums differs.
const SAME: f64 = 2e-5;

const ALL: Want = Want {
    mean: true,
    hidden: true,
    gene_logits: true,
    values: true,
    attention: true,
};

const SIZES: Sizes = Sizes {
    vocab_size: 70,
    hidden_size: 96,
    num_layers: 3,
    num_heads: 6,
    intermediate_size: 200,
    max_genes: 300,
    rope_theta: 10_000.0,
};

/// Runs everything; gives the backend back.
pub fn check_all<B: Backend>(backend: B) -> B {
    let backend = agrees_with_the_goldens(backend);
    let backend = agrees_with_the_reference_on_a_mixed_batch(backend);
    let backend = the_embedding_alone_is_the_same(backend);
    let backend = the_company_of_a_cell_does_not_matter(backend);
    let backend = padding_does_not_matter(backend);
    stored_halves_are_taken_as_they_are(backend)
}

pub fn agrees_with_the_goldens<B: Backend>(mut backend: B) -> B {
    for golden in Golden::all() {
        let model = load(backend, &golden.model.sizes, golden.model.seed, Dtype::F32);
        let output = run(&model, &[input(&golden.cell)], ALL);
        golden.check(&answer(&output, 0, &golden.model.sizes), TOLERANCE);
        backend = model.into_backend();
    }
    backend
}

/// Lengths around the sizes of tiles, masks from none to all, padding from none to all, in one batch.
pub fn agrees_with_the_reference_on_a_mixed_batch<B: Backend>(backend: B) -> B {
    let reference = model::Model::new(SIZES, 21);
    let model = load(backend, &SIZES, 21, Dtype::F32);
    let cells = mixed_cells();
    let output = run(&model, &cells.iter().map(input).collect::<Vec<_>>(), ALL);
    for (c, cell) in cells.iter().enumerate() {
        let place = format!("cell {c} of {} genes", cell.gene_ids.len());
        let (got, wanted) = (answer(&output, c, &SIZES), reference.forward(cell));
        close(&format!("{place}: latent"), &got.latent.data, &wanted.latent.data, TOLERANCE);
        close(&format!("{place}: hidden"), &got.hidden.data, &wanted.hidden.data, TOLERANCE);
        close(
            &format!("{place}: gene_logits"),
            &got.gene_logits.data,
            &wanted.gene_logits.data,
            TOLERANCE,
        );
        close(&format!("{place}: values"), &got.values, &wanted.values, TOLERANCE);
        for (i, (got, wanted)) in got.attention.iter().zip(&wanted.attention).enumerate() {
            close(
                &format!("{place}: attention of layer {i}"),
                &got.data,
                &wanted.data,
                TOLERANCE,
            );
        }
        // The mean of the attended gene rows; zeros where there are none.
        let attended: Vec<usize> = (0..cell.gene_ids.len()).filter(|&i| cell.attended[i]).collect();
        let mut mean = vec![0.0; SIZES.hidden_size];
        for &i in &attended {
            mean.iter_mut()
                .zip(wanted.hidden.row(i))
                .for_each(|(m, x)| *m += x / attended.len() as f64);
        }
        close(
            &format!("{place}: mean"),
            &row(&output.mean, c, SIZES.hidden_size),
            &mean,
            TOLERANCE,
        );
    }
    model.into_backend()
}

/// The last layer and the batch are cut short when nothing but the embedding is wanted.
pub fn the_embedding_alone_is_the_same<B: Backend>(backend: B) -> B {
    let model = load(backend, &SIZES, 22, Dtype::F32);
    let cells = mixed_cells();
    let inputs: Vec<CellInput<'_>> = cells.iter().map(input).collect();
    let (all, alone) = (run(&model, &inputs, ALL), run(&model, &inputs, Want::default()));
    close("embedding alone", &wide(&alone.latent), &wide(&all.latent), SAME);
    let with_mean = Want {
        mean: true,
        ..Want::default()
    };
    let pooled = run(&model, &inputs, with_mean);
    close("embedding with mean", &wide(&pooled.latent), &wide(&all.latent), SAME);
    close("mean", &wide(&pooled.mean), &wide(&all.mean), SAME);
    assert!(alone.hidden.is_empty() && alone.gene_logits.is_empty() && alone.values.is_empty() && alone.attention.is_empty());
    model.into_backend()
}

/// A cell has the same answer alone, in a batch, and in the batch backwards.
pub fn the_company_of_a_cell_does_not_matter<B: Backend>(backend: B) -> B {
    let model = load(backend, &SIZES, 23, Dtype::F32);
    let cells = mixed_cells();
    let inputs: Vec<CellInput<'_>> = cells.iter().map(input).collect();
    let backwards: Vec<CellInput<'_>> = inputs.iter().rev().copied().collect();
    let (together, backwards) = (run(&model, &inputs, ALL), run(&model, &backwards, ALL));
    for c in 0..cells.len() {
        let alone = run(&model, &inputs[c..=c], ALL);
        for (way, output, at) in [("together", &together, c), ("backwards", &backwards, cells.len() - 1 - c)] {
            same(
                &format!("cell {c} alone and {way}"),
                &answer(&alone, 0, &SIZES),
                &answer(output, at, &SIZES),
            );
        }
    }
    model.into_backend()
}

/// What stands at unattended tokens changes nothing but those tokens' own rows; neither does more padding behind.
pub fn padding_does_not_matter<B: Backend>(backend: B) -> B {
    let model = load(backend, &SIZES, 24, Dtype::F32);
    let cell = Cell::random(5, &SIZES, 90, 0.3, 0.4);
    let n = cell.gene_ids.len();
    let attended: Vec<usize> = (0..n).filter(|&i| cell.attended[i]).collect();
    let (d, plain) = (SIZES.hidden_size, run(&model, &[input(&cell)], ALL));
    let rows_of = |output: &Output| {
        Mat::from_f32(output.hidden[0].len() / d, d, &output.hidden[0])
            .pick(attended.iter().copied())
            .data
    };

    let mut other = cell.clone();
    for i in (0..n).filter(|&i| !cell.attended[i]) {
        other.gene_ids[i] = 3 + i as u32 % 40;
        other.values[i] = 100.0;
        other.masked[i] = !cell.masked[i];
    }
    let other = run(&model, &[input(&other)], ALL);
    close("other padding: latent", &wide(&other.latent), &wide(&plain.latent), SAME);
    close("other padding: hidden", &rows_of(&other), &rows_of(&plain), SAME);
    close("other padding: mean", &wide(&other.mean), &wide(&plain.mean), SAME);

    // Padding that is told by its ids alone.
    let by_id = CellInput {
        attended: None,
        ..input(&cell)
    };
    let by_id = run(&model, &[by_id], ALL);
    same("padding by id", &answer(&by_id, 0, &SIZES), &answer(&plain, 0, &SIZES));

    let mut longer = cell.clone();
    for i in 0..37 {
        longer.gene_ids.push(if i % 2 == 0 { 0 } else { 67 });
        longer.values.push(1.0);
        longer.attended.push(false);
        longer.masked.push(false);
    }
    let longer = run(&model, &[input(&longer)], ALL);
    close("more padding: latent", &wide(&longer.latent), &wide(&plain.latent), SAME);
    close("more padding: hidden", &rows_of(&longer), &rows_of(&plain), SAME);
    model.into_backend()
}

/// Weights stored as f16 or bf16 give the answer of the reference with the same, rounded weights: near that of f32, and not equal.
pub fn stored_halves_are_taken_as_they_are<B: Backend>(mut backend: B) -> B {
    let cell = Cell::random(6, &SIZES, 40, 0.2, 0.1);
    let mut answers = vec![];
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        let model = load(backend, &SIZES, 25, dtype);
        answers.push(run(&model, &[input(&cell)], ALL));
        backend = model.into_backend();
    }
    for (half, tolerance) in [(&answers[1], 0.03), (&answers[2], 0.2)] {
        close("stored in 16 bits", &wide(&half.latent), &wide(&answers[0].latent), tolerance);
        assert_ne!(half.latent, answers[0].latent);
    }
    backend
}

fn mixed_cells() -> Vec<Cell> {
    [
        (1, 0.0, 0.0),
        (65, 0.5, 0.2),
        (1, 0.0, 1.0),
        (2, 1.0, 0.0),
        (130, 1.0, 0.5),
        (63, 0.0, 0.0),
        (31, 0.15, 1.0),
        (200, 0.1, 0.05),
    ]
    .into_iter()
    .enumerate()
    .map(|(c, (n_genes, mask_share, pad_share))| Cell::random(c as u64 + 1, &SIZES, n_genes, mask_share, pad_share))
    .collect()
}

/// A model with random weights, read as a checkpoint.
pub fn load<B: Backend>(backend: B, sizes: &Sizes, seed: u64, dtype: Dtype) -> Model<B> {
    let mut files = ModelFiles::new("random");
    files.insert("config.json", Arc::new(checkpoint::config(sizes).into_bytes()));
    files.insert("model.safetensors", Arc::new(checkpoint::weights(sizes, seed, dtype)));
    Model::load(backend, Checkpoint::open(&files).unwrap()).unwrap()
}

pub fn input(cell: &Cell) -> CellInput<'_> {
    CellInput {
        gene_ids: &cell.gene_ids,
        values: &cell.values,
        attended: Some(&cell.attended),
        masked: Some(&cell.masked),
    }
}

fn run<B: Backend>(model: &Model<B>, cells: &[CellInput<'_>], want: Want) -> Output {
    pollster::block_on(model.forward(cells, want)).unwrap()
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| f64::from(x)).collect()
}

fn row(numbers: &[f32], row: usize, n_cols: usize) -> Vec<f64> {
    wide(&numbers[row * n_cols..(row + 1) * n_cols])
}

/// The answer for one cell, in the form of the reference.
fn answer(output: &Output, c: usize, sizes: &Sizes) -> Answer {
    let d = sizes.hidden_size;
    let n_genes = output.values[c].len();
    let n = n_genes + 1;
    let layer_len = sizes.num_heads * n * n;
    assert_eq!(output.attention[c].len(), sizes.num_layers * layer_len);
    Answer {
        latent: Mat::new(1, d, row(&output.latent, c, d)),
        hidden: Mat::from_f32(n_genes, d, &output.hidden[c]),
        gene_logits: Mat::from_f32(n_genes, sizes.vocab_size, &output.gene_logits[c]),
        values: wide(&output.values[c]),
        attention: output.attention[c]
            .chunks_exact(layer_len)
            .map(|x| Mat::from_f32(sizes.num_heads * n, n, x))
            .collect(),
    }
}

fn same(what: &str, got: &Answer, wanted: &Answer) {
    close(&format!("{what}: latent"), &got.latent.data, &wanted.latent.data, SAME);
    close(&format!("{what}: hidden"), &got.hidden.data, &wanted.hidden.data, SAME);
    close(
        &format!("{what}: gene_logits"),
        &got.gene_logits.data,
        &wanted.gene_logits.data,
        SAME,
    );
    close(&format!("{what}: values"), &got.values, &wanted.values, SAME);
    for (got, wanted) in got.attention.iter().zip(&wanted.attention) {
        close(&format!("{what}: attention"), &got.data, &wanted.data, SAME);
    }
}

pub fn close(what: &str, got: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}: length");
    let allowed = tolerance * rms(wanted);
    let off = (0..got.len()).find(|&i| got[i].is_nan() || (got[i] - wanted[i]).abs() > allowed);
    if let Some(i) = off {
        panic!("{what}: number {i} is {:e}, wanted {:e} ± {allowed:e}", got[i], wanted[i]);
    }
}
