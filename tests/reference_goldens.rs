//! The reference against an independent program: numpy in float64, written from the model's description alone.

mod reference;
mod support {
    pub mod goldens;
}

use reference::{silu, softmax};
use support::goldens::Golden;

#[test]
fn reference_agrees_with_numpy() {
    for golden in Golden::all() {
        golden.check(&golden.model.forward(&golden.cell), 1e-10);
    }
}

#[test]
fn goldens_are_small() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let size: u64 = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 200_000, "{size} bytes");
}

#[test]
fn activations_have_their_known_values() {
    assert!((silu(1.0) - 0.731_058_578_630_004_9).abs() < 1e-15);
    assert_eq!(softmax(&[f64::NEG_INFINITY, 3.0, 3.0]), [0.0, 0.5, 0.5]);
}
