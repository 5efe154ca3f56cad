//! The plane in which rows differ most: their first two principal components.

/// Rows that the components are found from.
const SAMPLE: usize = 20_000;

/// Enough for two components that differ by a few percent; where they are equal, any two will do.
const ITERATIONS: usize = 100;

/// Coordinates of the rows `cells` of `values` `[n_cells, n_cols]` along the first two principal components.
#[expect(clippy::cast_possible_truncation, reason = "coordinates are f32")]
pub(super) fn plane(values: &[f32], n_cols: usize, cells: &[u32]) -> Vec<[f32; 2]> {
    let row = |cell: u32| values[cell as usize * n_cols..][..n_cols].iter().map(|&x| f64::from(x));
    let sample: Vec<u32> = cells.iter().copied().step_by(cells.len().div_ceil(SAMPLE).max(1)).collect();
    let mut mean = vec![0.0; n_cols];
    for &cell in &sample {
        for (mean, x) in mean.iter_mut().zip(row(cell)) {
            *mean += x / sample.len() as f64;
        }
    }
    let centred = |cell| row(cell).zip(&mean).map(|(x, mean)| x - mean).collect::<Vec<f64>>();
    let mut covariance = vec![0.0; n_cols * n_cols];
    for &cell in &sample {
        let x = centred(cell);
        for (row, &a) in covariance.chunks_exact_mut(n_cols).zip(&x) {
            for (sum, &b) in row.iter_mut().zip(&x) {
                *sum += a * b;
            }
        }
    }
    // Two vectors at once, kept orthogonal. They start from columns of the identity's neighbourhood: no direction is left out.
    let start = |offset: usize| {
        (0..n_cols)
            .map(|i| 1.0 + ((i * 7 + offset * 3) % 11) as f64)
            .collect::<Vec<f64>>()
    };
    let (mut first, mut second) = (start(0), start(1));
    for _ in 0..ITERATIONS {
        (first, second) = (product(&covariance, &first), product(&covariance, &second));
        normalise(&mut first);
        let overlap = dot(&first, &second);
        for (x, a) in second.iter_mut().zip(&first) {
            *x -= overlap * a;
        }
        normalise(&mut second);
    }
    let along = |&cell: &u32| {
        let x = centred(cell);
        [dot(&x, &first) as f32, dot(&x, &second) as f32]
    };
    cells.iter().map(along).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn product(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

/// To length 1; a vector without one stays as it is.
fn normalise(x: &mut [f64]) {
    let length = dot(x, x).sqrt();
    if length > 0.0 {
        x.iter_mut().for_each(|x| *x /= length);
    }
}
