//! The operations of `scdiva::backend::Backend`, one plain function each, with the same arguments in f64.

use super::{Mat, dot, matmul, silu, softmax};
use scdiva::backend::{CellRows, PackedRows, Queries};
use std::ops::Range;

/// What `scdiva::backend::Epilogue` says.
#[derive(Debug, Clone)]
pub enum Epilogue<'a> {
    None,
    Bias(&'a Mat),
    BiasRelu(&'a Mat),
    SwiGlu,
    Rope {
        table: &'a Mat,
        batch: &'a PackedRows,
        n_cols: usize,
    },
}

fn latent_row_numbers(batch: &PackedRows) -> impl Iterator<Item = usize> {
    batch.cells.iter().map(|cell| cell.first_row)
}

pub fn encode_values(batch: &PackedRows, weight: &Mat, bias: &Mat) -> Mat {
    let values = Mat::from_f32(batch.n_rows(), 1, &batch.values);
    values.map_rows(weight.n_cols, |_, v| {
        (0..weight.n_cols)
            .map(|c| (v[0] * weight.data[c] + bias.data[c]).max(0.0))
            .collect()
    })
}

pub fn add_gene_embedding(x: &Mat, batch: &PackedRows, table: &Mat) -> Mat {
    x.map_rows(x.n_cols, |r, row| {
        row.iter()
            .zip(table.row(batch.gene_ids[r] as usize))
            .map(|(x, t)| x + t)
            .collect()
    })
}

pub fn cell_mean(x: &Mat, batch: &PackedRows) -> Mat {
    let mut mean = Mat::zeros(batch.cells.len(), x.n_cols);
    for (c, cell) in batch.cells.iter().enumerate() {
        for r in 1..cell.n_keys {
            for (m, x) in mean.row_mut(c).iter_mut().zip(x.row(cell.first_row + r)) {
                *m += x / (cell.n_keys - 1) as f64;
            }
        }
    }
    mean
}

pub fn mask_rows(x: &Mat, batch: &PackedRows, gene_mask: &Mat, value_mask: &Mat) -> Mat {
    let mask: Vec<f64> = gene_mask.data.iter().zip(&value_mask.data).map(|(g, v)| g + v).collect();
    x.map_rows(
        x.n_cols,
        |r, row| if batch.masked[r] == 1 { mask.clone() } else { row.to_vec() },
    )
}

pub fn set_latent_rows(x: &Mat, batch: &PackedRows, latent: &Mat) -> Mat {
    let mut x = x.clone();
    for (c, r) in latent_row_numbers(batch).enumerate() {
        x.row_mut(r).copy_from_slice(latent.row(c));
    }
    x
}

pub fn latent_rows(x: &Mat, batch: &PackedRows) -> Mat {
    x.pick(latent_row_numbers(batch))
}

pub fn rows(x: &Mat, rows: Range<usize>) -> Mat {
    x.pick(rows)
}

/// The `n_best` smallest of each row of scores and which they are, the earlier of equal ones first.
pub fn nearest(scores: &Mat, n_best: usize) -> Mat {
    scores.map_rows(2 * n_best, |_, row| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[a].total_cmp(&row[b]).then(a.cmp(&b)));
        let place = |i: usize| order.get(i).copied();
        let best = (0..n_best).map(|i| place(i).map_or(f64::from(3.0e38_f32), |place| row[place]));
        best.chain((0..n_best).map(|i| place(i).map_or(-1.0, |place| place as f64)))
            .collect()
    })
}

pub fn layer_norm(x: &Mat, weight: &Mat, bias: &Mat, eps: f64) -> Mat {
    x.map_rows(x.n_cols, |_, row| {
        let n = row.len() as f64;
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / (variance + eps).sqrt();
        (0..row.len())
            .map(|c| (row[c] - mean) * scale * weight.data[c] + bias.data[c])
            .collect()
    })
}

pub fn relu(x: &Mat) -> Mat {
    x.map_rows(x.n_cols, |_, row| row.iter().map(|x| x.max(0.0)).collect())
}

pub fn layer_norm_relu(x: &Mat, weight: &Mat, bias: &Mat, eps: f64) -> Mat {
    relu(&layer_norm(x, weight, bias, eps))
}

pub fn rms_norm(x: &Mat, weight: &Mat, eps: f64) -> Mat {
    x.map_rows(x.n_cols, |_, row| {
        let scale = 1.0 / (dot(row, row) / row.len() as f64 + eps).sqrt();
        row.iter().zip(&weight.data).map(|(x, w)| x * scale * w).collect()
    })
}

pub fn linear(x: &Mat, weight: &Mat, weight_rows: Range<usize>, epilogue: &Epilogue<'_>) -> Mat {
    let y = matmul(x, &weight.pick(weight_rows));
    let with_bias = |bias: &Mat, f: fn(f64) -> f64| {
        y.map_rows(y.n_cols, |_, row| row.iter().zip(&bias.data).map(|(y, b)| f(y + b)).collect())
    };
    match epilogue {
        Epilogue::None => y,
        Epilogue::Bias(bias) => with_bias(bias, |y| y),
        Epilogue::BiasRelu(bias) => with_bias(bias, |y| y.max(0.0)),
        Epilogue::SwiGlu => y.map_rows(y.n_cols / 2, |_, row| {
            row.chunks_exact(2).map(|pair| silu(pair[0]) * pair[1]).collect()
        }),
        Epilogue::Rope { table, batch, n_cols } => y.map_rows(y.n_cols, |r, row| {
            let mut row = row.to_vec();
            let angles = table.row(batch.positions[r] as usize);
            for c in (0..*n_cols).step_by(2) {
                let i = c % table.n_cols;
                let (a, b, cos, sin) = (row[c], row[c + 1], angles[i], angles[i + 1]);
                (row[c], row[c + 1]) = (a * cos - b * sin, a * sin + b * cos);
            }
            row
        }),
    }
}

pub fn linear_add(x: &Mat, weight: &Mat, into: &Mat) -> Mat {
    let y = matmul(x, weight);
    into.map_rows(into.n_cols, |r, row| row.iter().zip(y.row(r)).map(|(i, y)| i + y).collect())
}

/// Columns of `head` in a matrix whose heads start at column `first`.
fn head(x: &Mat, first: usize, row: usize, head: usize, head_size: usize) -> &[f64] {
    &x.row(row)[first + head * head_size..first + (head + 1) * head_size]
}

/// Probabilities of one query over the keys of its cell.
fn probabilities(q: &[f64], k: (&Mat, usize), cell: CellRows, h: usize, head_size: usize) -> Vec<f64> {
    let scale = 1.0 / (head_size as f64).sqrt();
    let scores: Vec<f64> = (0..cell.n_keys)
        .map(|j| scale * dot(q, head(k.0, k.1, cell.first_row + j, h, head_size)))
        .collect();
    softmax(&scores)
}

/// q, k and v are matrices with the column where their heads start.
pub fn attention(
    q: (&Mat, usize),
    k: (&Mat, usize),
    v: (&Mat, usize),
    batch: &PackedRows,
    queries: Queries,
    n_heads: usize,
    head_size: usize,
) -> Mat {
    let cells: Vec<CellRows> = match queries {
        Queries::AllRows => batch.cells.iter().flat_map(|cell| vec![*cell; cell.n_rows]).collect(),
        Queries::LatentRows => batch.cells.clone(),
    };
    assert_eq!(q.0.n_rows, cells.len());
    q.0.map_rows(n_heads * head_size, |r, _| {
        let mut out = vec![0.0; n_heads * head_size];
        for h in 0..n_heads {
            let cell = cells[r];
            let weights = probabilities(head(q.0, q.1, r, h, head_size), k, cell, h, head_size);
            for (j, weight) in weights.iter().enumerate() {
                let values = head(v.0, v.1, cell.first_row + j, h, head_size);
                for (out, v) in out[h * head_size..].iter_mut().zip(values) {
                    *out += weight * v;
                }
            }
        }
        out
    })
}

pub fn attention_weights(
    q: (&Mat, usize),
    k: (&Mat, usize),
    batch: &PackedRows,
    cell: usize,
    n_heads: usize,
    head_size: usize,
) -> Mat {
    let cell = batch.cells[cell];
    let n = cell.n_rows;
    Mat::zeros(n_heads * n, n).map_rows(n, |r, _| {
        let (h, query) = (r / n, cell.first_row + r % n);
        let mut row = probabilities(head(q.0, q.1, query, h, head_size), k, cell, h, head_size);
        row.resize(n, 0.0);
        row
    })
}
