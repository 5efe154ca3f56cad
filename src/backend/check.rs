//! Shape checks that every backend makes before it runs anything.

use super::{Backend, Columns, Epilogue, Matrix};
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
            if head_size.is_multiple_of(2) && head_size > 0 && n_cols.is_multiple_of(head_size) && *n_cols <= weight_rows.len() {
                return Ok(());
            }
            Err(Error::argument(
                OPERATION,
                "n_cols",
                format_args!("{n_cols} rotated columns of {} with heads of {head_size}", weight_rows.len()),
            ))
        }
    }
}
