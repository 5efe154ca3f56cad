//! A weight in the form in which it is used: as rows, or as the panels of a product.

use super::tile::{PANEL, PanelRow, pack_panels};
use crate::backend::Matrix;
use crate::parallel::prelude::*;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of a weight as the columns of panels: `[panels][n_cols][32]`.
#[derive(Debug)]
pub(super) struct Panels {
    n_cols: usize,
    numbers: Vec<PanelRow>,
}

impl Panels {
    pub(super) fn pack(rows: &[f32], n_rows: usize, n_cols: usize) -> Self {
        let mut numbers = vec![PanelRow::ZERO; n_rows.div_ceil(PANEL) * n_cols];
        numbers
            .par_chunks_mut(n_cols)
            .zip(rows.par_chunks(PANEL * n_cols))
            .for_each(|(panel, rows)| pack_panels(rows, n_cols, rows.len() / n_cols, n_cols, 1.0, panel));
        Self { n_cols, numbers }
    }

    /// Rows `inner` of a panel.
    pub(super) fn panel(&self, panel: usize, inner: Range<usize>) -> &[PanelRow] {
        let first = panel * self.n_cols;
        &self.numbers[first + inner.start..first + inner.end]
    }

    /// Rows of the weight again, row-major.
    pub(super) fn unpack(&self, rows: Range<usize>) -> Vec<f32> {
        rows.flat_map(|row| {
            let panel = self.panel(row / PANEL, 0..self.n_cols);
            panel.iter().map(move |numbers| numbers[row % PANEL])
        })
        .collect()
    }
}

/// A weight matrix in memory.
#[derive(Debug)]
pub struct Weight {
    n_rows: usize,
    n_cols: usize,
    forms: Mutex<Forms>,
}

/// At least one of them is there.
#[derive(Debug, Default)]
struct Forms {
    rows: Option<Arc<Vec<f32>>>,
    panels: Option<Arc<Panels>>,
}

impl Weight {
    pub(super) fn new(n_rows: usize, n_cols: usize, rows: Vec<f32>) -> Self {
        let rows = Some(Arc::new(rows));
        Self {
            n_rows,
            n_cols,
            forms: Mutex::new(Forms { rows, panels: None }),
        }
    }

    /// The weight as rows.
    pub(super) fn rows(&self) -> Arc<Vec<f32>> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let Forms { rows, panels } = &mut *forms;
        let make = || {
            let rows = panels.as_ref().map(|panels| panels.unpack(0..self.n_rows));
            Arc::new(rows.unwrap_or_default())
        };
        Arc::clone(rows.get_or_insert_with(make))
    }

    /// The weight as panels; made at the first use, which then replaces the rows.
    pub(super) fn panels(&self) -> Arc<Panels> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let Forms { rows, panels } = &mut *forms;
        let panels = Arc::clone(panels.get_or_insert_with(|| {
            let rows = rows.take().unwrap_or_default();
            Arc::new(Panels::pack(&rows, self.n_rows, self.n_cols))
        }));
        drop(forms);
        panels
    }
}

impl Matrix for Weight {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_cols(&self) -> usize {
        self.n_cols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_hold_the_same_numbers() {
        let numbers: Vec<f32> = (0..70 * 3).map(|i| i as f32).collect();
        let weight = Weight::new(70, 3, numbers.clone());
        assert_eq!(weight.panels().panel(1, 2..3)[0][..2], [98.0, 101.0]);
        assert_eq!(*weight.rows(), numbers);
        assert_eq!(weight.panels().unpack(33..35), numbers[99..105]);
    }
}
