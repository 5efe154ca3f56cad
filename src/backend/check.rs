//! Shape checks that every backend makes before it runs anything.

use super::{Backend, Columns, Epilogue, Matrix, PackedRows};
use crate::error::{Error, Result};
use std::ops::Range;

/// `[n_rows, n_cols]`, exactly.
pub(crate) fn shape(
    operation: &'static str,
    argument: &'static str,
    x: &impl Matrix,
    n_rows: usize,
    n_cols: usize,
) -> Result<()> {
    if (x.n_rows(), x.n_cols()) == (n_rows, n_cols) {
        return Ok(());
    }
    let problem = format_args!("[{}, {}], wanted [{n_rows}, {n_cols}]", x.n_rows(), x.n_cols()).to_string();
    Err(Error::argument(operation, argument, problem))
}

/// `[1, len]`.
pub(crate) fn vector(operation: &'static str, argument: &'static str, x: &impl Matrix, len: usize) -> Result<()> {
    shape(operation, argument, x, 1, len)
}

/// A range that is not empty and ends by `len`.
pub(crate) fn range(operation: &'static str, argument: &'static str, range: &Range<usize>, len: usize) -> Result<()> {
    if range.start < range.end && range.end <= len {
        return Ok(());
    }
    Err(Error::argument(operation, argument, format_args!("{range:?} of {len}")))
}

/// `n_rows` rows, and `n_cols` columns from the first on.
pub(crate) fn columns<T: Matrix>(
    operation: &'static str,
    argument: &'static str,
    x: &Columns<'_, T>,
    n_rows: usize,
    n_cols: usize,
) -> Result<()> {
    if x.tensor.n_rows() == n_rows && x.first + n_cols <= x.tensor.n_cols() {
        return Ok(());
    }
    Err(Error::argument(
        operation,
        argument,
        format_args!(
            "columns {}.. of [{}, {}], wanted {n_cols} columns of {n_rows} rows",
            x.first,
            x.tensor.n_rows(),
            x.tensor.n_cols()
        ),
    ))
}

/// The arguments of [`Backend::linear`]; `batch_rows` tells the packed rows of a batch.
pub(crate) fn linear<B: Backend>(
    x: &B::Tensor,
    weight: &B::Weight,
    weight_rows: &Range<usize>,
    epilogue: &Epilogue<'_, B>,
    batch_rows: impl Fn(&B::Batch) -> usize,
) -> Result<()> {
    const OPERATION: &str = "linear";
    range(OPERATION, "weight_rows", weight_rows, weight.n_rows())?;
    shape(OPERATION, "weight", weight, weight.n_rows(), x.n_cols())?;
    match epilogue {
        Epilogue::None => Ok(()),
        Epilogue::Bias(bias) | Epilogue::BiasRelu(bias) => vector(OPERATION, "bias", *bias, weight_rows.len()),
        Epilogue::SwiGlu if weight_rows.start.is_multiple_of(2) && weight_rows.len().is_multiple_of(2) => Ok(()),
        Epilogue::SwiGlu => Err(Error::argument(
            OPERATION,
            "weight_rows",
            format_args!("{weight_rows:?}, wanted pairs"),
        )),
        Epilogue::Rope { table, batch, n_cols } => {
            shape(OPERATION, "x", x, batch_rows(batch), x.n_cols())?;
            let head_size = table.n_cols();
            let starts_a_pair = weight_rows.start.is_multiple_of(2);
            if starts_a_pair
                && head_size.is_multiple_of(2)
                && head_size > 0
                && n_cols.is_multiple_of(head_size)
                && *n_cols <= weight_rows.len()
            {
                return Ok(());
            }
            Err(Error::argument(
                OPERATION,
                "n_cols",
                format_args!("{n_cols} rotated columns of {weight_rows:?} with heads of {head_size}"),
            ))
        }
    }
}

/// The largest index of a batch against what it counts.
pub(crate) fn below(operation: &'static str, argument: &'static str, largest: u32, len: usize) -> Result<()> {
    if (largest as usize) < len {
        return Ok(());
    }
    Err(Error::argument(
        operation,
        argument,
        format_args!("{largest}, but there are {len}"),
    ))
}

/// At least one head of at least one column.
pub(crate) fn heads(operation: &'static str, n_heads: usize, head_size: usize) -> Result<()> {
    if n_heads > 0 && head_size > 0 {
        return Ok(());
    }
    Err(Error::argument(
        operation,
        "n_heads",
        format_args!("{n_heads} heads of {head_size} columns"),
    ))
}

/// A batch whose parts are equally long and whose cells follow one another without a gap.
pub(crate) fn packed_rows(rows: &PackedRows) -> Result<()> {
    const OPERATION: &str = "batch";
    let n_rows = rows.n_rows();
    for (argument, len) in [
        ("values", rows.values.len()),
        ("masked", rows.masked.len()),
        ("positions", rows.positions.len()),
    ] {
        if len != n_rows {
            return Err(Error::argument(
                OPERATION,
                argument,
                format_args!("{len} of them for {n_rows} gene ids"),
            ));
        }
    }
    let mut next_row = 0;
    for (i, cell) in rows.cells.iter().enumerate() {
        if cell.first_row != next_row || !(1..=cell.n_rows).contains(&cell.n_keys) {
            let problem = format!("cell {i} is {cell:?}, wanted first_row {next_row} and n_keys from 1 to n_rows");
            return Err(Error::argument(OPERATION, "cells", problem));
        }
        next_row += cell.n_rows;
    }
    if next_row != n_rows || n_rows == 0 {
        return Err(Error::argument(
            OPERATION,
            "cells",
            format_args!("{next_row} rows of cells for {n_rows} gene ids"),
        ));
    }
    Ok(())
}

/// The arguments of [`Backend::upload`].
pub(crate) fn numbers(operation: &'static str, n_rows: usize, n_cols: usize, numbers: &[f32]) -> Result<()> {
    if n_rows > 0 && n_cols > 0 && n_rows.checked_mul(n_cols) == Some(numbers.len()) {
        return Ok(());
    }
    let problem = format_args!("{}, wanted [{n_rows}, {n_cols}], neither of them 0", numbers.len()).to_string();
    Err(Error::argument(operation, "numbers", problem))
}

/// The arguments of [`Backend::nearest`].
pub(crate) fn nearest(scores: &impl Matrix, first: usize, best: &impl Matrix) -> Result<()> {
    if best.n_cols() < 2 || !best.n_cols().is_multiple_of(2) {
        let problem = format_args!("{} columns, wanted scores and as many candidates", best.n_cols()).to_string();
        return Err(Error::argument("nearest", "best", problem));
    }
    shape("nearest", "best", best, scores.n_rows(), best.n_cols())?;
    range("nearest", "first", &(first..first + scores.n_cols()), 1 << 24)
}
