//! Cells as a caller gives them, and as packed rows.

use super::config::Config;
use crate::backend::{CellRows, PackedRows};
use crate::error::{Error, Result};

/// The tokens of one cell, L of them. Source: spec section 3.
#[derive(Debug, Clone, Copy, Default)]
pub struct CellInput<'a> {
    /// `[L]`, each under the vocabulary size.
    pub gene_ids: &'a [u32],
    /// `[L]`.
    pub values: &'a [f32],
    /// `[L]`; without it every token whose id is neither pad nor pad-fill is attended.
    pub attended: Option<&'a [bool]>,
    /// `[L]`; without it nothing is masked.
    pub masked: Option<&'a [bool]>,
}

/// Packs cells; unattended tokens are left out unless `keep_unattended`.
pub(super) fn pack(config: &Config, cells: &[CellInput<'_>], keep_unattended: bool) -> Result<PackedRows> {
    let mut rows = PackedRows::default();
    for (i, cell) in cells.iter().enumerate() {
        check(config, i, cell)?;
        let first_row = rows.n_rows();
        rows.push(0, 0.0, false, 0);
        let attended = |at: usize| match cell.attended {
            Some(attended) => attended[at],
            None => cell.gene_ids[at] != config.pad_token_id && cell.gene_ids[at] != config.pad_fill_token_id,
        };
        let n_genes = cell.gene_ids.len();
        let push = |rows: &mut PackedRows, at: usize| {
            let masked = cell.masked.is_some_and(|masked| masked[at]);
            rows.push(cell.gene_ids[at], cell.values[at], masked, at + 1);
        };
        (0..n_genes).filter(|&at| attended(at)).for_each(|at| push(&mut rows, at));
        let n_keys = rows.n_rows() - first_row;
        if keep_unattended {
            (0..n_genes).filter(|&at| !attended(at)).for_each(|at| push(&mut rows, at));
        }
        rows.cells.push(CellRows {
            first_row,
            n_rows: rows.n_rows() - first_row,
            n_keys,
        });
    }
    Ok(rows)
}

impl PackedRows {
    fn push(&mut self, gene_id: u32, value: f32, masked: bool, position: usize) {
        self.gene_ids.push(gene_id);
        self.values.push(value);
        self.masked.push(u32::from(masked));
        #[expect(clippy::cast_possible_truncation, reason = "positions are at most max_genes, which fits")]
        self.positions.push(position as u32);
    }
}

fn check(config: &Config, i: usize, cell: &CellInput<'_>) -> Result<()> {
    let refuse = |argument, problem: String| Err(Error::argument("forward", argument, format_args!("cell {i}: {problem}")));
    let n_genes = cell.gene_ids.len();
    if n_genes > config.max_genes {
        return refuse("gene_ids", format!("{n_genes} genes, the model takes {}", config.max_genes));
    }
    for (argument, len) in [
        ("values", cell.values.len()),
        ("attended", cell.attended.map_or(n_genes, <[bool]>::len)),
        ("masked", cell.masked.map_or(n_genes, <[bool]>::len)),
    ] {
        if len != n_genes {
            return refuse(argument, format!("{len} entries for {n_genes} genes"));
        }
    }
    if let Some(at) = cell.gene_ids.iter().position(|&id| id as usize >= config.vocab_size) {
        let id = cell.gene_ids[at];
        return refuse(
            "gene_ids",
            format!("id {id} at {at}, but the vocabulary has {}", config.vocab_size),
        );
    }
    if let Some(at) = cell.values.iter().position(|value| !value.is_finite()) {
        return refuse("values", format!("{} at {at}, wanted finite numbers", cell.values[at]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_first_and_keep_their_positions() {
        let config = Config::released();
        let cell = CellInput {
            gene_ids: &[0, 7, 41_815, 9],
            values: &[1.0, 2.0, 3.0, 4.0],
            ..CellInput::default()
        };
        let rows = pack(&config, &[cell, cell], true).unwrap();
        assert_eq!(rows.gene_ids[..5], [0, 7, 9, 0, 41_815]);
        assert_eq!(rows.positions[..5], [0, 2, 4, 1, 3]);
        assert_eq!(
            rows.cells[1],
            CellRows {
                first_row: 5,
                n_rows: 5,
                n_keys: 3
            }
        );
        assert_eq!(pack(&config, &[cell], false).unwrap().n_rows(), 3);
    }

    #[test]
    fn refuses_ids_past_the_vocabulary_and_values_that_are_no_numbers() {
        let config = Config::released();
        for (ids, values) in [([7, 41_818], [1.0, 1.0]), ([7, 8], [1.0, f32::NAN])] {
            let cell = CellInput {
                gene_ids: &ids,
                values: &values,
                ..CellInput::default()
            };
            let message = pack(&config, &[cell], false).unwrap_err().to_string();
            assert!(message.contains("cell 0") && message.contains("at 1"), "{message}");
        }
    }
}
