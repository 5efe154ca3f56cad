//! What groups of cells express: means and shares of every gene, and the genes that tell a group from the other cells.

use super::{OnProgress, READ, tell};
use crate::cells::{CellMatrix, Expression};
use crate::error::{Error, Result};
use crate::order::order;

/// A gene that the cells of a group express more than all others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marker {
    /// Position in [`Expression::genes`].
    pub gene: usize,
    /// Welch's t: the difference of the means over its standard error, without the assumption that both sides vary alike.
    pub score: f64,
    /// log2 of the ratio of the means, the logarithm undone, with 1e-9 added to both.
    pub log2_fold_change: f64,
    /// Share of the group's cells with a value above 0.
    pub share_inside: f64,
    /// Share of all other cells.
    pub share_outside: f64,
}

/// Sums of log-normalised values over the cells of each group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSums {
    /// Positions in [`Expression::genes`].
    genes: Vec<usize>,
    /// `[n_groups + 1]`: cells of each group, then those in none.
    n_cells: Vec<usize>,
    /// `[n_groups + 1, genes]`, and so are the following.
    sums: Vec<f64>,
    squares: Vec<f64>,
    /// Cells with a value above 0.
    n_above: Vec<u32>,
    /// `[genes]`: of all cells.
    all: Vec<Side>,
}

/// Not among the genes that are summed up.
const LEFT_OUT: u32 = u32::MAX;

impl GroupSums {
    /// Goes through the matrix once. `groups` `[n_cells]`: below `n_groups`, or `None` for a cell in none. `genes`: positions in
    /// [`Expression::genes`], each once.
    ///
    /// # Errors
    /// [`Error::Argument`] for groups that are not of these cells, or genes that there are not; [`Error::Cancelled`]; what
    /// [`Expression::read`] says.
    pub fn new(
        matrix: &dyn CellMatrix,
        expression: &Expression,
        genes: Vec<usize>,
        groups: &[Option<u32>],
        n_groups: usize,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Self> {
        let n_cells = matrix.n_cells();
        let refuse = |argument, problem: String| Err(Error::argument("markers", argument, problem));
        if groups.len() != n_cells {
            return refuse("groups", format!("of {} cells; there are {n_cells}", groups.len()));
        }
        if let Some(group) = groups.iter().flatten().find(|&&group| group as usize >= n_groups) {
            return refuse("groups", format!("group {group}, but there are {n_groups}"));
        }
        let mut places = vec![LEFT_OUT; expression.genes().len()];
        for (place, &gene) in (0..).zip(&genes) {
            match places.get_mut(gene) {
                Some(free) if *free == LEFT_OUT => *free = place,
                _ => {
                    return refuse(
                        "genes",
                        format!("{gene}; wanted each once, below {}", expression.genes().len()),
                    );
                }
            }
        }
        let wanted: Vec<bool> = places.iter().map(|&place| place != LEFT_OUT).collect();
        let n_sums = (n_groups + 1).saturating_mul(genes.len());
        let mut found = Self {
            n_cells: vec![0; n_groups + 1],
            sums: vec![0.0; n_sums],
            squares: vec![0.0; n_sums],
            n_above: vec![0; n_sums],
            all: vec![Side::default(); genes.len()],
            genes,
        };
        for start in (0..n_cells).step_by(READ) {
            tell(on_progress, start, n_cells)?;
            let end = n_cells.min(start + READ);
            let rows = expression.read(matrix, start..end, Some(&wanted))?;
            for (row, group) in groups[start..end].iter().enumerate() {
                let group = group.map_or(n_groups, |group| group as usize);
                found.n_cells[group] += 1;
                let (genes, values) = rows.row(row);
                for (&gene, &value) in genes.iter().zip(values) {
                    let sum = group * found.genes.len() + places[gene as usize] as usize;
                    let value = f64::from(value);
                    found.sums[sum] += value;
                    found.squares[sum] += value * value;
                    found.n_above[sum] += 1;
                }
            }
        }
        for group in 0..=n_groups {
            for place in 0..found.genes.len() {
                found.all[place] = found.all[place].plus(&found.side(place, group));
            }
        }
        tell(on_progress, n_cells, n_cells)?;
        Ok(found)
    }

    /// Mean and share of cells above 0 of the `place`-th gene in a group; NaN for a group without cells.
    #[must_use]
    pub fn mean_and_share(&self, place: usize, group: usize) -> (f64, f64) {
        let side = self.side(place, group);
        (side.mean(), side.share())
    }

    /// The genes that the cells of `group` express more than all others, the best `n`, the best first, of equal ones the first in the file.
    /// There are none where one of the sides has fewer than two cells.
    ///
    /// This is `rank_genes_groups(method="t-test")` of scanpy, with the same numbers.
    #[must_use]
    pub fn markers(&self, group: usize, n: usize) -> Vec<Marker> {
        let n_inside = self.n_cells.get(group).copied().unwrap_or(0);
        if n_inside < 2 || self.n_cells.iter().sum::<usize>() < n_inside + 2 {
            return Vec::new();
        }
        let marker = |(place, all): (usize, &Side)| {
            let inside = self.side(place, group);
            let outside = all.minus(&inside);
            let error = (inside.variance() / inside.n + outside.variance() / outside.n).sqrt();
            let amount = |side: &Side| side.mean().exp_m1() + 1e-9;
            Marker {
                gene: self.genes[place],
                score: (inside.mean() - outside.mean()) / error,
                log2_fold_change: (amount(&inside) / amount(&outside)).log2(),
                share_inside: inside.share(),
                share_outside: outside.share(),
            }
        };
        let markers: Vec<Marker> = self.all.iter().enumerate().map(marker).filter(|m| m.score > 0.0).collect();
        let order = order(markers.len(), &|a, b| markers[b].score.total_cmp(&markers[a].score));
        order.into_iter().take(n).map(|i| markers[i]).collect()
    }

    fn side(&self, place: usize, group: usize) -> Side {
        let sum = group * self.genes.len() + place;
        Side {
            n: self.n_cells[group] as f64,
            sum: self.sums[sum],
            squares: self.squares[sum],
            n_above: f64::from(self.n_above[sum]),
        }
    }
}

/// One gene in some cells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Side {
    n: f64,
    sum: f64,
    squares: f64,
    n_above: f64,
}

impl Side {
    fn plus(&self, other: &Self) -> Self {
        Self {
            n: self.n + other.n,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            n_above: self.n_above + other.n_above,
        }
    }

    /// What is left is 0 where nothing is left, not what rounding leaves.
    fn minus(&self, other: &Self) -> Self {
        let n_above = self.n_above - other.n_above;
        let left = |all: f64, part: f64| if n_above > 0.0 { (all - part).max(0.0) } else { 0.0 };
        Self {
            n: self.n - other.n,
            sum: left(self.sum, other.sum),
            squares: left(self.squares, other.squares),
            n_above,
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.n
    }

    fn share(&self) -> f64 {
        self.n_above / self.n
    }

    /// Of the population that the cells are a sample of.
    fn variance(&self) -> f64 {
        ((self.squares - self.sum * self.mean()) / (self.n - 1.0)).max(0.0)
    }
}
