//! What is made of embeddings: neighbours, clusters, votes, a layout.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a failure is a failed test, and numbers are chosen to fit"
)]

mod reference;

use reference::random::Stream;
use scdiva::backend::Backend;
use scdiva::cpu::Cpu;
use scdiva::gpu::{Gpu, GpuOptions};
use scdiva::model::Prediction;
use scdiva::tasks::{
    ClusterOptions, Clusters, NeighbourOptions, Neighbours, Progress, UmapOptions, VoteOptions, cluster, neighbours,
    neighbours_on, over_clustering, umap, vote,
};
use scdiva::{Error, Result};
use std::ops::ControlFlow;

const N_CELLS: usize = 1200;
const N_COLS: usize = 16;
const N_TYPES: usize = 12;

/// Cells of types of unequal sizes that touch each other, and their types; the same as in `tests/goldens/votes.py`.
fn cells(n_cells: usize, n_cols: usize) -> (Vec<f32>, Vec<usize>) {
    let stream = |name| Stream::new(3, name);
    let types: Vec<usize> = (0..n_cells)
        .map(|i| (N_TYPES as f64 * stream("types").uniform(i).powi(2)) as usize)
        .collect();
    let value = |i: usize| {
        let (cell, col) = (i / n_cols, i % n_cols);
        (stream("centres").signed(types[cell] * n_cols + col) + stream("noise").signed(i)) as f32
    };
    ((0..n_cells * n_cols).map(value).collect(), types)
}

/// Cells of `n_types` types far from each other.
fn islands(n_cells: usize, n_cols: usize, n_types: usize) -> Vec<f32> {
    let (noise, centres) = (Stream::new(4, "noise"), Stream::new(4, "centres"));
    let value = |i: usize| {
        let (cell, col) = (i / n_cols, i % n_cols);
        (40.0 * centres.signed(cell % n_types * n_cols + col) + noise.signed(i)) as f32
    };
    (0..n_cells * n_cols).map(value).collect()
}

fn quietly(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn exact(values: &[f32], n_cols: usize, empty_cells: &[usize], k: usize) -> Neighbours {
    let exact_up_to = usize::MAX;
    neighbours(
        values,
        n_cols,
        empty_cells,
        &NeighbourOptions { k, exact_up_to },
        &mut quietly,
    )
    .unwrap()
}

fn approximate(values: &[f32], n_cols: usize, empty_cells: &[usize]) -> Neighbours {
    let options = NeighbourOptions { k: 15, exact_up_to: 0 };
    neighbours(values, n_cols, empty_cells, &options, &mut quietly).unwrap()
}

fn clusters(found: &Neighbours, resolution: f64) -> Clusters {
    let resolution = Some(resolution);
    cluster(found, &ClusterOptions { resolution, seed: 0 }, &mut quietly).unwrap()
}

fn laid_out(values: &[f32], n_cols: usize, found: &Neighbours) -> Vec<[f32; 2]> {
    umap(values, n_cols, found, &UmapOptions::default(), &mut quietly).unwrap()
}

fn squared(values: &[f32], n_cols: usize, a: usize, b: usize) -> f64 {
    let row = |cell: usize| &values[cell * n_cols..(cell + 1) * n_cols];
    let differences = row(a).iter().zip(row(b)).map(|(&a, &b)| f64::from(a) - f64::from(b));
    differences.map(|d| d * d).sum()
}

/// All other cells by distance, then by number.
fn by_distance(values: &[f32], n_cols: usize, cell: usize, empty_cells: &[usize]) -> Vec<usize> {
    let mut others: Vec<(f64, usize)> = (0..values.len() / n_cols)
        .filter(|other| *other != cell && !empty_cells.contains(other))
        .map(|other| (squared(values, n_cols, cell, other), other))
        .collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    others.into_iter().map(|(_, other)| other).collect()
}

fn of(found: &Neighbours, cell: usize) -> Vec<usize> {
    found.of(cell).0.iter().map(|&other| other as usize).collect()
}

fn on_threads<R: Send>(n: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(f)
}

#[test]
fn exact_neighbours_are_those_of_brute_force() {
    // One tile short, whole and one past; more cells than candidates at once; more columns than a panel of the model's weights.
    for (n_cells, n_cols, k) in [
        (2, 1, 15),
        (31, 3, 5),
        (32, 128, 15),
        (33, 5, 40),
        (97, 513, 15),
        (2100, 4, 15),
    ] {
        let (mut values, _) = cells(n_cells, n_cols);
        // Far from zero, where products lose digits; some cells twice; some that are nothing, whatever their rows say.
        values.iter_mut().for_each(|x| *x += 300.0);
        values.copy_within(0..n_cols, (n_cells - 1) * n_cols);
        let empty_cells: Vec<usize> = (1..n_cells).filter(|cell| cell % 10 == 5).collect();
        for &cell in &empty_cells {
            values[cell * n_cols] = f32::NAN;
        }
        let found = exact(&values, n_cols, &empty_cells, k);
        let n_others = n_cells - empty_cells.len() - 1;
        assert_eq!((found.n_cells(), found.k), (n_cells, k.min(n_others)));
        for cell in 0..n_cells {
            let wanted = match empty_cells.contains(&cell) {
                true => vec![],
                false => by_distance(&values, n_cols, cell, &empty_cells)[..k.min(n_others)].to_vec(),
            };
            assert_eq!(of(&found, cell), wanted, "cell {cell} of [{n_cells}, {n_cols}]");
            for (&other, &distance) in wanted.iter().zip(found.of(cell).1) {
                assert_eq!(distance, squared(&values, n_cols, cell, other).sqrt() as f32);
            }
        }
    }
}

#[test]
fn many_equal_cells_are_neighbours_in_order() {
    let found = exact(&[1.5; 4 * 100], 4, &[], 15);
    for cell in 0..100 {
        let wanted: Vec<usize> = (0..100).filter(|&other| other != cell).take(15).collect();
        assert_eq!(of(&found, cell), wanted);
        assert!(found.of(cell).1.iter().all(|&distance| distance == 0.0));
    }
}

#[test]
fn no_cells_and_one_cell_have_no_neighbours() {
    for (values, empty_cells) in [
        (&[][..], &[][..]),
        (&[1.0, 2.0], &[]),
        (&[1.0, 2.0, 3.0, 4.0], &[0]),
        (&[1.0, 2.0], &[0]),
    ] {
        for exact_up_to in [0, 100] {
            let options = NeighbourOptions { k: 15, exact_up_to };
            let found = neighbours(values, 2, empty_cells, &options, &mut quietly).unwrap();
            assert_eq!((found.of(0), found.n_cells()), ((&[][..], &[][..]), values.len() / 2));
            let clusters = cluster(&found, &ClusterOptions::default(), &mut quietly).unwrap();
            assert_eq!(clusters.n_clusters, 0);
            // Each keeps its own label.
            let own = vec![called(0, 0.9); found.n_cells()];
            let votes = vote(&clusters.of_cell, clusters.n_clusters, &own, &VoteOptions::default()).unwrap();
            assert!((0..own.len()).all(|cell| votes.of(cell).is_none()));
            umap(values, 2, &found, &UmapOptions::default(), &mut quietly).unwrap();
        }
    }
}

#[test]
fn approximate_neighbours_are_nearly_all_of_the_exact_ones() {
    let (values, _) = cells(6000, 64);
    let empty_cells = [7, 8, 5000];
    let (exact, found) = (exact(&values, 64, &empty_cells, 15), approximate(&values, 64, &empty_cells));
    let mut n_same = 0;
    for cell in 0..6000 {
        let (cells, distances) = found.of(cell);
        n_same += cells.iter().filter(|other| exact.of(cell).0.contains(other)).count();
        assert_eq!(cells.len(), if empty_cells.contains(&cell) { 0 } else { 15 });
        assert!(distances.is_sorted() && !cells.iter().any(|&other| empty_cells.contains(&(other as usize))));
        for (&other, &distance) in cells.iter().zip(distances) {
            assert_eq!(distance, squared(&values, 64, cell, other as usize).sqrt() as f32);
        }
    }
    // Uniform noise in 64 dimensions has no parts to find: embeddings, which lie near fewer, are found better.
    let recall = n_same as f64 / (15.0 * 5997.0);
    assert!((0.9..1.0).contains(&recall), "{recall}");
}

/// Every pair on a device, in several tiles, against every pair by the CPU's own loops.
#[test]
fn a_device_finds_the_same_neighbours() {
    fn check<B: Backend>(backend: &B, n_cells: usize, n_cols: usize) {
        let (values, _) = cells(n_cells, n_cols);
        let empty_cells = [0, 7, 2_050, n_cells - 1];
        let mut n_told = Vec::new();
        let mut tell = |progress: Progress| {
            n_told.push(progress.n_done);
            ControlFlow::Continue(())
        };
        let found = pollster::block_on(neighbours_on(backend, &values, n_cols, &empty_cells, 15, &mut tell)).unwrap();
        let wanted = exact(&values, n_cols, &empty_cells, 15);
        assert_eq!(found.distances, wanted.distances, "{}", backend.name());
        assert_eq!(found.cells, wanted.cells, "{}", backend.name());
        assert!(n_told.is_sorted() && n_told.last() == Some(&n_cells), "{n_told:?}");
    }
    check(&Cpu::new(), 2_500, 16);
    check(&Cpu::new(), 8_300, 4);
    let gpu = pollster::block_on(Gpu::open(GpuOptions::default())).unwrap();
    check(&gpu, 2_500, 16);
    check(&gpu, 2_100, 3);
    let cancelled = pollster::block_on(neighbours_on(&gpu, &[0.0; 6], 2, &[], 1, &mut |_| ControlFlow::Break(())));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let alone = pollster::block_on(neighbours_on(&gpu, &[0.0; 2], 2, &[], 1, &mut quietly)).unwrap();
    assert_eq!((alone.of(0), alone.n_cells()), ((&[][..], &[][..]), 1));
}

#[test]
fn the_order_of_the_cells_does_not_matter_to_neighbours() {
    let (values, _) = cells(500, N_COLS);
    // 500 and 7 have no common divisor: every cell once.
    let from: Vec<usize> = (0..500).map(|i| i * 7 % 500).collect();
    let shuffled: Vec<f32> = from
        .iter()
        .flat_map(|&i| &values[i * N_COLS..(i + 1) * N_COLS])
        .copied()
        .collect();
    let (straight, found) = (exact(&values, N_COLS, &[], 15), exact(&shuffled, N_COLS, &[], 15));
    for (cell, &was) in from.iter().enumerate() {
        let others: Vec<usize> = of(&found, cell).into_iter().map(|other| from[other]).collect();
        assert_eq!(others, of(&straight, was));
    }
}

#[test]
fn the_answer_does_not_depend_on_the_threads() {
    let (values, _) = cells(3000, N_COLS);
    let all = || {
        let found = approximate(&values, N_COLS, &[9]);
        let layout = laid_out(&values, N_COLS, &found);
        let bits: Vec<u32> = layout.as_flattened().iter().map(|x| x.to_bits()).collect();
        (exact(&values, N_COLS, &[9], 15), clusters(&found, 5.0), bits, found)
    };
    let one = on_threads(1, all);
    assert!(one == on_threads(5, all));
    assert!(one == on_threads(2, all));
}

#[test]
fn clusters_are_as_good_as_those_of_leidenalg() {
    let (values, _) = cells(N_CELLS, N_COLS);
    assert_eq!(values[..3], [-0.263_825_18, 0.711_815_6, -0.342_604_04]);
    let found = exact(&values, N_COLS, &[], 15);
    // Means of five seeds.
    for (resolution, leidenalg) in [(0.5, 0.83299), (1.0, 0.76276), (5.0, 0.49037), (20.0, 0.22056)] {
        let ours = clusters(&found, resolution);
        let difference = (ours.quality - leidenalg) / leidenalg;
        assert!(difference > -0.01, "at {resolution}: {} instead of {leidenalg}", ours.quality);
        // It cannot be much better either: then it is another quality.
        assert!(difference < 0.02, "at {resolution}: {} instead of {leidenalg}", ours.quality);
    }
}

#[test]
fn clusters_count_from_the_largest_and_hang_together() {
    let (values, _) = cells(N_CELLS, N_COLS);
    let found = exact(&values, N_COLS, &[3, 4], 15);
    let clusters = clusters(&found, 3.0);
    assert_eq!((clusters.of_cell[3], clusters.of_cell[4]), (None, None));
    let members = |cluster: usize| -> Vec<usize> {
        let cells = 0..N_CELLS;
        cells.filter(|&cell| clusters.of_cell[cell] == Some(cluster as u32)).collect()
    };
    let members: Vec<Vec<usize>> = (0..clusters.n_clusters).map(members).collect();
    assert_eq!(members.iter().map(Vec::len).sum::<usize>(), N_CELLS - 2);
    assert!(members.is_sorted_by(|a, b| (b.len(), a[0]) <= (a.len(), b[0])) && !members.iter().any(Vec::is_empty));
    for members in &members {
        // What is reached from its first cell through neighbours of either direction.
        let mut reached = vec![members[0]];
        let mut i = 0;
        while i < reached.len() {
            for &cell in members {
                let joined = of(&found, cell).contains(&reached[i]) || of(&found, reached[i]).contains(&cell);
                if joined && !reached.contains(&cell) {
                    reached.push(cell);
                }
            }
            i += 1;
        }
        assert_eq!(reached.len(), members.len());
    }
}

#[test]
fn islands_are_clusters_and_stay_apart() {
    let n_types = 5;
    let values = islands(600, 8, n_types);
    let found = exact(&values, 8, &[], 15);
    let clusters = clusters(&found, 0.2);
    assert_eq!(clusters.n_clusters, n_types);
    let layout = laid_out(&values, 8, &found);
    let distance = |a: usize, b: usize| f64::from((layout[a][0] - layout[b][0]).hypot(layout[a][1] - layout[b][1]));
    for cell in 0..600 {
        assert_eq!(clusters.of_cell[cell], clusters.of_cell[cell % n_types]);
        let mut others: Vec<usize> = (0..600).filter(|&other| other != cell).collect();
        others.sort_by(|&a, &b| distance(cell, a).total_cmp(&distance(cell, b)));
        assert!(
            others[..15].iter().all(|other| other % n_types == cell % n_types),
            "cell {cell}"
        );
    }
}

#[test]
fn equal_cells_land_together() {
    let (mut values, _) = cells(N_CELLS, N_COLS);
    for copy in [100, 500, 900] {
        values.copy_within(0..N_COLS, copy * N_COLS);
    }
    let found = exact(&values, N_COLS, &[], 15);
    let clusters = clusters(&found, over_clustering(N_CELLS));
    let layout = laid_out(&values, N_COLS, &found);
    for copy in [100, 500, 900] {
        assert_eq!(clusters.of_cell[copy], clusters.of_cell[0]);
        assert!((layout[copy][0] - layout[0][0]).hypot(layout[copy][1] - layout[0][1]) < 0.5);
    }
}

#[test]
fn the_seed_decides() {
    let (values, _) = cells(N_CELLS, N_COLS);
    let found = exact(&values, N_COLS, &[], 15);
    let clusters = |seed| cluster(&found, &ClusterOptions { seed, resolution: None }, &mut quietly).unwrap();
    let layout = |seed| {
        let options = UmapOptions {
            seed,
            n_epochs: Some(5),
            ..UmapOptions::default()
        };
        umap(&values, N_COLS, &found, &options, &mut quietly).unwrap()
    };
    assert!(clusters(1) == clusters(1) && clusters(1) != clusters(2));
    assert!(layout(1) == layout(1) && layout(1) != layout(2));
}

#[test]
fn layouts_keep_neighbours_as_well_as_those_of_umap_learn() {
    let (values, _) = cells(N_CELLS, N_COLS);
    let k = 15;
    let found = exact(&values, N_COLS, &[], k);
    for (min_dist, umap_learn, umap_learn_kept) in [(0.1, 0.9429, 0.3324), (0.5, 0.9332, 0.2862)] {
        let options = UmapOptions {
            min_dist,
            ..UmapOptions::default()
        };
        let layout = umap(&values, N_COLS, &found, &options, &mut quietly).unwrap();
        let kept = exact(layout.as_flattened(), 2, &[], k);
        let (mut penalty, mut n_kept) = (0, 0);
        for cell in 0..N_CELLS {
            let mut rank = vec![0; N_CELLS];
            for (i, other) in by_distance(&values, N_COLS, cell, &[]).into_iter().enumerate() {
                rank[other] = i + 1;
            }
            penalty += of(&kept, cell)
                .iter()
                .map(|&other| rank[other].saturating_sub(k))
                .sum::<usize>();
            n_kept += of(&kept, cell).iter().filter(|&&other| rank[other] <= k).count();
        }
        let trustworthiness = 1.0 - 2.0 * penalty as f64 / (N_CELLS * k * (2 * N_CELLS - 3 * k - 1)) as f64;
        let kept = n_kept as f64 / (N_CELLS * k) as f64;
        assert!(trustworthiness > umap_learn - 0.01, "{min_dist}: {trustworthiness}");
        assert!(kept > umap_learn_kept - 0.02, "{min_dist}: {kept}");
    }
}

#[test]
fn a_cell_without_neighbours_has_no_place() {
    let (mut values, _) = cells(60, 4);
    values[20..24].fill(f32::INFINITY);
    let found = exact(&values, 4, &[5], 15);
    let layout = laid_out(&values, 4, &found);
    for (cell, place) in layout.iter().enumerate() {
        assert_eq!(place.iter().all(|x| x.is_finite()), cell != 5, "{cell}: {place:?}");
    }
}

/// A prediction of a label, this probable.
fn called(label: usize, probability: f32) -> Option<Prediction> {
    Some(Prediction {
        label,
        probability,
        second_label: 99,
        second_probability: 0.1,
        entropy: 0.0,
    })
}

/// What a cell is called, how probably (0: not at all), and its group.
type Ballot = (usize, f32, Option<u32>);

/// A name, cells, options; the label and the share of group 1.
type Case<'a> = (&'a str, &'a [Ballot], VoteOptions, Option<usize>, f32);

#[test]
fn groups_are_called_what_most_of_their_cells_are() {
    let options = |min_probability, min_share| VoteOptions {
        min_probability,
        min_share,
    };
    let g = Some(1);
    let table: [Case<'_>; 12] = [
        ("one cell", &[(4, 0.5, g)], options(0.0, 0.0), Some(4), 1.0),
        (
            "most",
            &[(4, 0.9, g), (7, 0.3, g), (7, 0.3, g)],
            options(0.0, 0.0),
            Some(7),
            2.0 / 3.0,
        ),
        (
            "a tie: more probable",
            &[(4, 0.5, g), (7, 0.6, g)],
            options(0.0, 0.0),
            Some(7),
            0.5,
        ),
        (
            "a whole tie: the first label",
            &[(7, 0.5, g), (4, 0.5, g)],
            options(0.0, 0.0),
            Some(4),
            0.5,
        ),
        (
            "other groups",
            &[(4, 0.5, g), (7, 0.5, Some(0)), (7, 0.5, Some(2))],
            options(0.0, 0.0),
            Some(4),
            1.0,
        ),
        (
            "no group",
            &[(4, 0.5, g), (7, 0.9, None), (7, 0.9, None)],
            options(0.0, 0.0),
            Some(4),
            1.0,
        ),
        (
            "rejected",
            &[(4, 0.5, g), (7, 0.3, g), (7, 0.3, g), (7, 0.3, g)],
            options(0.5, 0.0),
            Some(4),
            0.25,
        ),
        ("empty", &[(4, 0.5, g), (7, 0.0, g)], options(0.0, 0.0), Some(4), 0.5),
        ("nobody votes", &[(4, 0.4, g), (7, 0.0, g)], options(0.5, 0.0), None, 0.0),
        ("nobody is there", &[(4, 0.4, None)], options(0.0, 0.0), None, 0.0),
        ("just enough", &[(4, 0.4, g), (7, 0.3, g)], options(0.0, 0.5), Some(4), 0.5),
        (
            "heterogeneous",
            &[(4, 0.4, g), (7, 0.3, g), (8, 0.2, g)],
            options(0.0, 0.5),
            None,
            1.0 / 3.0,
        ),
    ];
    for (name, cells, options, label, share) in table {
        let groups: Vec<Option<u32>> = cells.iter().map(|cell| cell.2).collect();
        let predictions: Vec<Option<Prediction>> = cells
            .iter()
            .map(|cell| called(cell.0, cell.1).filter(|_| cell.1 > 0.0))
            .collect();
        let votes = vote(&groups, 3, &predictions, &options).unwrap();
        let got = votes.groups[1];
        assert_eq!((got.label, got.share), (label, share), "{name}");
        assert_eq!(got.n_cells, groups.iter().filter(|&&group| group == g).count(), "{name}");
        for (cell, group) in groups.iter().enumerate() {
            // Everybody in the group gets the vote, whoever voted.
            assert_eq!(
                votes.of(cell).copied(),
                group.map(|group| votes.groups[group as usize]),
                "{name}"
            );
        }
        // Turned round, the same.
        let turned = |votes: &[Option<u32>]| votes.iter().rev().copied().collect::<Vec<_>>();
        let predictions: Vec<Option<Prediction>> = predictions.into_iter().rev().collect();
        assert_eq!(
            vote(&turned(&groups), 3, &predictions, &options).unwrap().groups,
            votes.groups,
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let found = |values: &[f32], n_cols, empty_cells: &[usize], k| {
        let options = NeighbourOptions { k, exact_up_to: 10 };
        neighbours(values, n_cols, empty_cells, &options, &mut quietly).map(|_| ())
    };
    let pair = exact(&[1.0, 2.0], 1, &[], 15);
    let voted = |groups: &[Option<u32>], options: VoteOptions| vote(groups, 2, &[None, None], &options).map(|_| ());
    let shares = |min_probability, min_share| VoteOptions {
        min_probability,
        min_share,
    };
    let clustered = |resolution| {
        let resolution = Some(resolution);
        cluster(&pair, &ClusterOptions { resolution, seed: 0 }, &mut quietly).map(|_| ())
    };
    let placed = |values: &[f32], min_dist| {
        let options = UmapOptions {
            min_dist,
            ..UmapOptions::default()
        };
        umap(values, 1, &pair, &options, &mut quietly).map(|_| ())
    };
    let made = |cells: &[u32], distances: &[f32]| Neighbours {
        k: 1,
        cells: cells.to_vec(),
        distances: distances.to_vec(),
    };
    let strangers = made(&[1, 2], &[1.0, 1.0]);
    let cases: [(Result<()>, &str, &str); 18] = [
        (
            cluster(&strangers, &ClusterOptions::default(), &mut quietly).map(|_| ()),
            "neighbours",
            "cell 2, but there are 2",
        ),
        (
            umap(&[1.0; 2], 1, &strangers, &UmapOptions::default(), &mut quietly).map(|_| ()),
            "neighbours",
            "cell 2, but there are 2",
        ),
        (
            cluster(&made(&[1, 0], &[1.0]), &ClusterOptions::default(), &mut quietly).map(|_| ()),
            "neighbours",
            "2 cells and 1 distances",
        ),
        (found(&[1.0; 5], 2, &[], 1), "values", "5 numbers are no rows of 2"),
        (found(&[1.0; 5], 0, &[], 1), "values", "no rows of 0"),
        (found(&[1.0, f32::NAN], 1, &[], 1), "values", "cell 1 has NaN"),
        (found(&[1.0, -1e16], 1, &[], 1), "values", "cell 1 has -1e16"),
        (found(&[1.0; 4], 2, &[2], 1), "empty_cells", "cell 2, but there are 2"),
        (found(&[1.0; 4], 2, &[], 0), "k", "at least 1"),
        (voted(&[None], shares(0.0, 0.0)), "groups", "1 cells, but 2 predictions"),
        (
            voted(&[None, Some(2)], shares(0.0, 0.0)),
            "groups",
            "group 2, but there are 2",
        ),
        (voted(&[None, None], shares(f32::NAN, 0.0)), "min_probability", "NaN"),
        (voted(&[None, None], shares(0.0, 1.5)), "min_share", "1.5, wanted 0 to 1"),
        (clustered(0.0), "resolution", "0, wanted"),
        (clustered(f64::NAN), "resolution", "NaN"),
        (placed(&[1.0; 3], 0.1), "neighbours", "of 2 cells, but the embedding is of 3"),
        (placed(&[1.0, f32::NAN], 0.1), "values", "NaN"),
        (placed(&[1.0; 2], -0.1), "min_dist", "-0.1"),
    ];
    for (result, name, text) in cases {
        match result {
            Err(Error::Argument { argument, problem, .. }) => {
                assert!(
                    argument == name && problem.contains(text),
                    "{argument}: {problem}; wanted {name}: {text}"
                );
            }
            other => panic!("{other:?}, wanted {name}: {text}"),
        }
    }
}

#[test]
fn every_step_tells_how_far_it_is_and_can_be_ended() {
    let (values, _) = cells(N_CELLS, N_COLS);
    let found = exact(&values, N_COLS, &[], 15);
    type Step<'a> = Box<dyn Fn(&mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<()> + 'a>;
    let options = |exact_up_to| NeighbourOptions { k: 15, exact_up_to };
    let step = |exact_up_to| -> Step<'_> {
        let values = &values;
        Box::new(move |tell| neighbours(values, N_COLS, &[], &options(exact_up_to), tell).map(|_| ()))
    };
    let steps: [Step<'_>; 4] = [
        step(0),
        step(10_000),
        Box::new(|tell| cluster(&found, &ClusterOptions::default(), tell).map(|_| ())),
        Box::new(|tell| umap(&values, N_COLS, &found, &UmapOptions::default(), tell).map(|_| ())),
    ];
    for step in steps {
        let mut told = vec![];
        step(&mut |progress| {
            assert_eq!(progress.n_cells, N_CELLS);
            told.push(progress.n_done);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(
            told.is_sorted() && told.first() == Some(&0) && told.last() == Some(&N_CELLS),
            "{told:?}"
        );
        for end in 0..told.len().min(4) {
            let mut n_told = 0;
            let result = step(&mut |_| {
                n_told += 1;
                if n_told > end {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            assert!(matches!(result, Err(Error::Cancelled)) && n_told == end + 1);
        }
    }
}
