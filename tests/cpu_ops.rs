//! Every operation of the CPU backend against the reference.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod ops;
}

use scdiva::backend::{Backend, CellRows, Columns, Epilogue, PackedRows, Queries};
use scdiva::cpu::{Batch, Cpu, Tensor, Weight};
use support::ops;

#[test]
fn embeddings() {
    ops::embeddings(&Cpu::new());
}

#[test]
fn row_copies() {
    ops::row_copies(&Cpu::new());
}

#[test]
fn norms() {
    ops::norms(&Cpu::new());
}

#[test]
fn linear() {
    ops::linear(&Cpu::new());
}

#[test]
fn linear_epilogues() {
    ops::linear_epilogues(&Cpu::new());
}

#[test]
fn no_number_stays_none() {
    ops::no_number_stays_none(&Cpu::new());
}

#[test]
fn attention() {
    ops::attention(&Cpu::new());
}

#[test]
fn attention_weights() {
    ops::attention_weights(&Cpu::new());
}

#[test]
fn refusals() {
    ops::refusals(&Cpu::new());
}

/// Numbers that look random, small enough that nothing overflows.
fn weight(n_rows: usize, n_cols: usize) -> Weight {
    let number = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
    let weight = Cpu::new().weight(n_rows, n_cols, &mut |rows, out| {
        out.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x = number(rows.start * n_cols + i));
        Ok(())
    });
    weight.unwrap()
}

/// Cells of these lengths, with values that differ.
fn batch(lengths: &[usize]) -> Batch {
    let mut rows = PackedRows::default();
    for &n_rows in lengths {
        let first_row = rows.n_rows();
        rows.cells.push(CellRows {
            first_row,
            n_rows,
            n_keys: n_rows,
        });
        rows.values.extend((0..n_rows).map(|i| ((first_row + i) % 17) as f32 - 8.0));
        rows.positions.extend((0..).take(n_rows));
        rows.gene_ids.resize(first_row + n_rows, 0);
        rows.masked.resize(first_row + n_rows, 0);
    }
    Cpu::new().batch(&rows).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f32> {
    pollster::block_on(Cpu::new().download(x)).unwrap()
}

#[test]
fn answers_are_the_same_on_any_number_of_threads() {
    let batch = batch(&[1, 300, 37, 129]);
    let (first, bias) = (weight(1, 64), weight(1, 64));
    let (qkv, up, down) = (weight(192, 64), weight(1400, 64), weight(64, 700));
    let run = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let cpu = Cpu::new();
            let mut h = cpu.encode_values(&batch, &first, &bias).unwrap();
            let qkv = cpu.linear(&h, &qkv, 0..192, Epilogue::None).unwrap();
            let columns = |first| Columns { tensor: &qkv, first };
            let (q, k, v) = (columns(0), columns(64), columns(128));
            let context = cpu.attention(q, k, v, &batch, Queries::AllRows, 2, 32).unwrap();
            let y = cpu.linear(&h, &up, 0..1400, Epilogue::SwiGlu).unwrap();
            cpu.linear_add(&y, &down, &mut h).unwrap();
            (numbers(&context), numbers(&h))
        })
    };
    let wanted = run(1);
    for n_threads in [2, 3, 8] {
        assert!(run(n_threads) == wanted, "{n_threads} threads");
    }
}

#[test]
fn part_of_a_weight_gives_part_of_the_answer() {
    let cpu = Cpu::new();
    let x = cpu.encode_values(&batch(&[9]), &weight(1, 40), &weight(1, 40)).unwrap();
    let weight = weight(200, 40);
    let all = numbers(&cpu.linear(&x, &weight, 0..200, Epilogue::SwiGlu).unwrap());
    for range in [6..44, 64..128, 34..36, 2..200] {
        let part = numbers(&cpu.linear(&x, &weight, range.clone(), Epilogue::SwiGlu).unwrap());
        let wanted = all.chunks_exact(100).flat_map(|row| &row[range.start / 2..range.end / 2]);
        assert!(part.iter().eq(wanted), "{range:?}");
    }
}
