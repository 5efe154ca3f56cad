//! Weighted graphs of cells that are neighbours.

use super::Neighbours;
use crate::parallel::prelude::*;

/// An undirected graph: every edge is there from both ends, with the same weight. The edges of a node are sorted by their other end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    /// `[n_nodes + 1]`
    pub(super) offsets: Vec<usize>,
    pub(super) targets: Vec<u32>,
    pub(super) weights: Vec<f32>,
}

impl Graph {
    pub(super) fn n_nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The other ends of the edges of `node`, and the weights.
    pub(super) fn edges(&self, node: usize) -> impl Iterator<Item = (u32, f32)> {
        let range = self.offsets[node]..self.offsets[node + 1];
        self.targets[range.clone()]
            .iter()
            .copied()
            .zip(self.weights[range].iter().copied())
    }

    /// Cells joined to their neighbours, weighted by the share of neighbours that two have in common (Jaccard), each counting as a neighbour
    /// of its own.
    pub(super) fn jaccard(neighbours: &Neighbours) -> Self {
        let n_cells = neighbours.n_cells();
        let sets: Vec<Vec<u32>> = (0..n_cells)
            .into_par_iter()
            .map(|cell| {
                let mut set = neighbours.of(cell).0.to_vec();
                set.extend(u32::try_from(cell));
                set.sort_unstable();
                set
            })
            .collect();
        Self::joined(
            neighbours,
            |cell| {
                let set = &sets[cell];
                let others = neighbours.of(cell).0.iter().map(|&other| &sets[other as usize]);
                others.map(|other| jaccard(set, other)).collect()
            },
            f32::max,
        )
    }

    /// The fuzzy graph of UMAP: how surely a cell's neighbours are its neighbours, `exp(−(d − ρ) / σ)` with ρ the distance of the nearest
    /// and σ such that they sum to `log2(k + 1)`; of both directions a + b − ab. Source: `McInnes` 2018, algorithms 2 and 3; umap-learn
    /// counts a cell among its neighbours, we do not.
    pub(super) fn fuzzy(neighbours: &Neighbours) -> Self {
        let finite = neighbours.distances.iter().filter(|d| d.is_finite());
        let (sum, n) = finite.fold((0.0, 0_usize), |(sum, n), &d| (sum + f64::from(d), n + 1));
        let mean = sum / n.max(1) as f64;
        Self::joined(
            neighbours,
            |cell| memberships(neighbours.of(cell).1, mean),
            |a, b| a + b - a * b,
        )
    }

    /// Joins cells to their neighbours. `weights` gives those of a cell's neighbours, `join` makes one of the two of a pair, 0 where only one
    /// is the other's neighbour.
    fn joined(
        neighbours: &Neighbours,
        weights: impl Fn(usize) -> Vec<f32> + Sync,
        join: impl Fn(f32, f32) -> f32 + Sync,
    ) -> Self {
        let n_cells = neighbours.n_cells();
        let rows: Vec<Vec<(u32, f32)>> = (0..n_cells)
            .into_par_iter()
            .map(|cell| {
                let cells = neighbours.of(cell).0.iter().copied();
                let mut row: Vec<(u32, f32)> = cells.zip(weights(cell)).collect();
                row.sort_unstable_by_key(|edge| edge.0);
                row
            })
            .collect();
        // The same edges from their other ends; sorted, because sources come in order.
        let mut reversed: Vec<Vec<(u32, f32)>> = vec![vec![]; n_cells];
        for (source, row) in (0..).zip(&rows) {
            for &(target, weight) in row {
                reversed[target as usize].push((source, weight));
            }
        }
        let rows: Vec<Vec<(u32, f32)>> = rows
            .into_par_iter()
            .zip(reversed)
            .map(|(a, b)| merge(&a, &b, &join))
            .collect();
        let mut offsets = vec![0];
        offsets.extend(rows.iter().scan(0, |sum, row| {
            *sum += row.len();
            Some(*sum)
        }));
        Self {
            offsets,
            targets: rows.iter().flatten().map(|edge| edge.0).collect(),
            weights: rows.iter().flatten().map(|edge| edge.1).collect(),
        }
    }
}

/// Two sorted lists of edges as one.
fn merge(mut a: &[(u32, f32)], mut b: &[(u32, f32)], join: impl Fn(f32, f32) -> f32) -> Vec<(u32, f32)> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    loop {
        match (a, b) {
            ([], []) => return merged,
            ([(i, x), rest_a @ ..], [(j, y), rest_b @ ..]) if i == j => {
                merged.push((*i, join(*x, *y)));
                (a, b) = (rest_a, rest_b);
            }
            ([(i, x), rest @ ..], _) if b.first().is_none_or(|(j, _)| i < j) => {
                merged.push((*i, join(*x, 0.0)));
                a = rest;
            }
            (_, [(j, y), rest @ ..]) => {
                merged.push((*j, join(0.0, *y)));
                b = rest;
            }
            (_, []) => return merged,
        }
    }
}

/// Of two sorted sets the share that is in both.
#[expect(clippy::cast_precision_loss, reason = "a few neighbours")]
fn jaccard(a: &[u32], b: &[u32]) -> f32 {
    let n_both = a.iter().filter(|x| b.binary_search(x).is_ok()).count();
    n_both as f32 / (a.len() + b.len() - n_both) as f32
}

/// The fuzzy weights of sorted distances; `mean` is that of all distances.
#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn memberships(distances: &[f32], mean: f64) -> Vec<f32> {
    let nearest = distances.iter().copied().find(|&d| d > 0.0);
    let beyond: Vec<f64> = distances
        .iter()
        .map(|d| (f64::from(*d) - f64::from(nearest.unwrap_or(0.0))).max(0.0))
        .collect();
    let target = ((distances.len() + 1) as f64).log2();
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..64 {
        let sum: f64 = beyond.iter().map(|d| (-d / sigma).exp()).sum();
        if (sum - target).abs() < 1e-5 {
            break;
        }
        if sum > target {
            high = sigma;
            sigma = (low + high) / 2.0;
        } else {
            low = sigma;
            sigma = if high.is_finite() { (low + high) / 2.0 } else { sigma * 2.0 };
        }
    }
    // As in umap-learn: not much sharper than the distances around.
    let own = distances.iter().map(|&d| f64::from(d)).sum::<f64>() / distances.len().max(1) as f64;
    let sigma = sigma.max(1e-3 * if nearest.is_some() { own } else { mean });
    let weight = |d: f64| if d > 0.0 { (-d / sigma).exp() as f32 } else { 1.0 };
    beyond.into_iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells at 0, 1, 1.5, 3.5, 3.5 and 8 on a line, each with two neighbours; and one that has none.
    fn line() -> Neighbours {
        let none = Neighbours::NONE;
        Neighbours {
            k: 2,
            cells: vec![1, 2, 2, 0, 1, 0, 4, 2, 3, 2, 3, 4, none, none],
            distances: vec![
                1.0,
                1.5,
                0.5,
                1.0,
                0.5,
                1.5,
                0.0,
                2.0,
                0.0,
                2.0,
                4.5,
                4.5,
                f32::INFINITY,
                f32::INFINITY,
            ],
        }
    }

    fn edges(graph: &Graph) -> Vec<(u32, u32, f32)> {
        let edges = (0..)
            .take(graph.n_nodes())
            .flat_map(|i| graph.edges(i as usize).map(move |(j, w)| (i, j, w)));
        edges.filter(|(i, j, _)| i < j).collect()
    }

    #[test]
    fn fuzzy_weights_are_those_of_umap_learn() {
        let graph = Graph::fuzzy(&line());
        let wanted = [
            (0, 1, 1.0),
            (0, 2, 0.8277),
            (1, 2, 1.0),
            (2, 3, 1.0),
            (2, 4, 1.0),
            (3, 4, 1.0),
            (3, 5, 1.0),
            (4, 5, 1.0),
        ];
        let got = edges(&graph);
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            assert!(
                (got.0, got.1) == (wanted.0, wanted.1) && (got.2 - wanted.2).abs() < 1e-4,
                "{got:?}, wanted {wanted:?}"
            );
        }
        assert_eq!(graph.edges(6).count(), 0);
    }

    #[test]
    fn jaccard_weights_are_shares_of_both_sets() {
        // {0,1,2} three times; {3,4,2} twice; {5,3,4}.
        let wanted = [
            (0, 1, 1.0),
            (0, 2, 1.0),
            (1, 2, 1.0),
            (2, 3, 0.2),
            (2, 4, 0.2),
            (3, 4, 1.0),
            (3, 5, 0.5),
            (4, 5, 0.5),
        ];
        assert_eq!(edges(&Graph::jaccard(&line())), wanted);
    }

    #[test]
    fn every_edge_is_there_from_both_ends() {
        for graph in [Graph::fuzzy(&line()), Graph::jaccard(&line())] {
            for i in 0..graph.n_nodes() {
                assert!(graph.edges(i).is_sorted_by(|a, b| a.0 < b.0));
                for (j, weight) in graph.edges(i) {
                    let back = graph.edges(j as usize).find(|edge| edge.0 as usize == i);
                    assert!(
                        back.is_some_and(|edge| edge.1 == weight),
                        "{i} - {j}: {weight}, back {back:?}"
                    );
                }
            }
        }
    }
}
