//! Results in `.h5ad` files: whatever Python wrote stays to the bit, and anndata opens what comes out.
#![expect(clippy::unwrap_used, reason = "in tests a failure is a failed test")]

#[path = "support/python.rs"]
mod python;

use scdiva::error::Error;
use scdiva::write::h5ad::{Additions, H5adWriter};
use scdiva::write::{ResultColumn, ResultEmbedding, ResultValues, TableWriter};
use serde_json::json;
use std::fmt::Debug;
use std::io::{Cursor, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

/// Numbers of an embedding.
const N_COLS: usize = 5;

fn additions() -> Additions {
    Additions {
        columns: ["scdiva_cell_type", "scdiva_confidence", "scdiva_rejected"]
            .map(str::to_owned)
            .into(),
        embeddings: ["X_scdiva", "X_scdiva_umap"].map(str::to_owned).into(),
        replace_own: false,
    }
}

/// Columns of some cells by the formulas of `tests/python/h5ad_additions.py`.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn columns(cells: std::ops::Range<usize>) -> Vec<ResultColumn> {
    let names: Arc<[String]> = ["B", "T αβ", "", "never"].map(str::to_owned).into();
    let code = |i: usize| (i % 4 != 1).then_some(u32::try_from(i % 3).unwrap());
    let confidence = |i: usize| if i % 5 == 2 { f32::NAN } else { i as f32 / 7.0 };
    [
        ResultValues::Categories {
            codes: cells.clone().map(code).collect(),
            names,
        },
        ResultValues::Numbers(cells.clone().map(confidence).collect()),
        ResultValues::Truths(cells.map(|i| i % 2 == 1).collect()),
    ]
    .into_iter()
    .zip(additions().columns)
    .map(|(values, name)| ResultColumn { name, values })
    .collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn embedding(cells: std::ops::Range<usize>, n_cols: usize) -> Vec<f32> {
    (cells.start * n_cols..cells.end * n_cols).map(|i| i as f32 / 3.0).collect()
}

/// Writes all answers in blocks of a few cells, columns and embeddings in turns.
fn fill<F: Read + Write + Seek + Send + Debug + 'static>(mut writer: H5adWriter<F>) -> std::io::Result<F> {
    let n_cells = usize::try_from(writer.n_cells()).unwrap();
    for start in (0..n_cells).step_by(7) {
        let cells = start..n_cells.min(start + 7);
        let names: Vec<String> = cells.clone().map(|i| i.to_string()).collect();
        writer.write_block(&names, &columns(cells.clone()))?;
        for (name, n_cols) in [("X_scdiva", N_COLS), ("X_scdiva_umap", 2)] {
            let values = &embedding(cells.clone(), n_cols);
            writer.write_embedding(&ResultEmbedding { name, n_cols, values })?;
        }
    }
    let serde_json::Value::Object(run) = json!({
        "version": "0.1.0",
        "genes": { "coverage": 0.75, "matched": 12, "missing": ["Ä", "b"] },
        "seeds": [1, 2],
        "shares": [0.5, 1],
        "vote": true,
        "nothing": null,
    }) else {
        panic!("a mapping");
    };
    writer.set_run(run);
    writer.complete()
}

fn add(name: &str, bytes: &[u8], additions: &Additions) -> Result<Vec<u8>, Error> {
    let writer = H5adWriter::open(name, Cursor::new(bytes.to_vec()), additions)?;
    Ok(fill(writer).unwrap().into_inner())
}

#[test]
fn what_stands_in_a_file_stays_to_the_bit_and_anndata_reads_what_was_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let names = python::run("h5ad_additions.py", &["make", path]);
    assert!(names.lines().count() >= 17, "{names}");
    std::fs::create_dir(folder.path().join("new")).unwrap();
    for name in names.lines() {
        let old = folder.path().join(name);
        let bytes = std::fs::read(&old).unwrap();
        let new = folder.path().join("new").join(name);
        let written = add(name, &bytes, &additions()).unwrap();
        // Only the superblock is another; all else is behind what was.
        assert_eq!(written[96..bytes.len()], bytes[96..], "{name}");
        std::fs::write(&new, &written).unwrap();
        python::run("h5ad_additions.py", &["check", old.to_str().unwrap(), new.to_str().unwrap()]);

        // A second run is refused by name, and replaces its own when asked to.
        let error = add(name, &written, &additions()).unwrap_err().to_string();
        assert!(error.contains("obs/scdiva_cell_type: exists already"), "{name}: {error}");
        let replace_own = Additions {
            replace_own: true,
            ..additions()
        };
        std::fs::write(&new, add(name, &written, &replace_own).unwrap()).unwrap();
        python::run("h5ad_additions.py", &["check", old.to_str().unwrap(), new.to_str().unwrap()]);
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}
