//! What a GPU was found to compute quickest with, kept from one run to the next.
//!
//! A cache of the user's: where it cannot be read or written, a short measurement is made again, and nothing else differs.

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use scdiva::gpu::Tuning;
use std::fs;
use std::path::PathBuf;

fn path() -> Option<PathBuf> {
    let strategy = choose_native_strategy().ok()?;
    Some(strategy.cache_dir().join("scdiva").join("tuning.json"))
}

/// Of the GPU that was used last; it says nothing to another.
pub(super) fn read() -> Option<Tuning> {
    serde_json::from_slice(&fs::read(path()?).ok()?).ok()
}

pub(super) fn keep(tuning: &Tuning) {
    let written = || -> Option<()> {
        let path = path()?;
        fs::create_dir_all(path.parent()?).ok()?;
        fs::write(path, serde_json::to_vec(tuning).ok()?).ok()
    };
    // Not written: measured again the next time.
    let _ = written();
}
