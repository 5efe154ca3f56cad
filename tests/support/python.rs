//! The Python that knows how a file should look: anndata, h5py, pyarrow, as `tests/python/requirements.txt` pins them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    reason = "several test files share this, each uses a part; a failure is a failed test"
)]
#![expect(
    unreachable_pub,
    clippy::panic,
    reason = "each test file that needs this is a crate of its own; a script that cannot run is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// `SCDIVA_PYTHON`, or the one that `cargo xtask test setup` makes. A test without it fails; it does not skip.
fn python() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(if cfg!(windows) {
        "target/python/Scripts/python.exe"
    } else {
        "target/python/bin/python"
    });
    let python = std::env::var_os("SCDIVA_PYTHON").map_or(own, PathBuf::from);
    assert!(
        python.exists(),
        "{} is missing: `cargo xtask test setup` makes it",
        python.display()
    );
    python
}

/// Runs a script of `tests/python/` and gives what it printed; the test fails when the script does.
pub fn run(script: &str, arguments: &[&str]) -> String {
    run_file(&format!("tests/python/{script}"), arguments)
}

/// Runs a script by its path in the repository.
pub fn run_file(script: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(python())
        .arg(path)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script} {arguments:?}: {printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
