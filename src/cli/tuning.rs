//! What GPUs were found to compute quickest with, kept from one run to the next.
//!
//! A cache of the user's: where it cannot be read or written, a short measurement is made again, and nothing else differs.

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use scdiva::gpu::Tuning;
use std::fs;
use std::path::{Path, PathBuf};

/// Adapters, drivers and precisions that are remembered.
const MOST: usize = 16;

pub(super) fn path() -> Option<PathBuf> {
    let strategy = choose_native_strategy().ok()?;
    Some(strategy.cache_dir().join("scdiva").join("tuning.json"))
}

/// Those of all GPUs, the last one first.
pub(super) fn read(path: Option<&Path>) -> Vec<Tuning> {
    let read = || serde_json::from_slice(&fs::read(path?).ok()?).ok();
    read().unwrap_or_default()
}

/// Adds what was found, in the place of what was found before on the same GPU.
pub(super) fn keep(path: Option<&Path>, found: &Tuning) {
    let others = read(path).into_iter().filter(|tuning| tuning.key != found.key);
    let all: Vec<Tuning> = std::iter::once(found.clone()).chain(others).take(MOST).collect();
    let written = || -> Option<()> {
        let path = path?;
        fs::create_dir_all(path.parent()?).ok()?;
        fs::write(path, serde_json::to_vec(&all).ok()?).ok()
    };
    // Not written: measured again the next time.
    let _ = written();
}

#[cfg(test)]
mod tests {
    use super::*;
    use scdiva::gpu::{AttentionKernel, LinearKernel};

    #[test]
    fn the_last_of_each_gpu_is_kept_and_a_damaged_file_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("scdiva/tuning.json");
        let path = Some(file.as_path());
        let found = |key: &str, flops| Tuning {
            key: key.to_owned(),
            linear: [LinearKernel::Tile32, LinearKernel::Tile64, LinearKernel::Tile128],
            attention: AttentionKernel::Tile64,
            flops,
        };
        assert_eq!(read(path), []);
        keep(path, &found("a", 1));
        keep(path, &found("b", 2));
        keep(path, &found("a", 3));
        assert_eq!(read(path), [found("a", 3), found("b", 2)]);
        for i in 0..20 {
            keep(path, &found(&format!("{i}"), i));
        }
        assert_eq!(read(path).len(), MOST);
        assert_eq!(read(path)[0], found("19", 19));
        for damaged in ["", "{", "{\"key\": 1}", "[{\"key\": \"a\"}]"] {
            fs::write(&file, damaged).expect("written");
            assert_eq!(read(path), [], "{damaged}");
            keep(path, &found("a", 1));
            assert_eq!(read(path), [found("a", 1)]);
        }
        keep(None, &found("a", 1));
        assert_eq!(read(None), []);
    }
}
