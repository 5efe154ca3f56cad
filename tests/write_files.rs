//! Files appear under their names when they are whole, and the user's file is the old one or the new one whenever a process dies.
#![expect(clippy::unwrap_used, reason = "in tests a failure is a failed test")]

use scdiva::write::file::NewFile;
use scdiva::write::h5ad::{Additions, H5adWriter};
use scdiva::write::{ResultColumn, ResultValues, TableWriter};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the child of a test adds to a file.
const CHILD: &str = "SCDIVA_TEST_ADD_TO";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Adds a column to a file in its place.
fn add_in_place(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let new = NewFile::replace(path)?;
    let additions = Additions {
        columns: vec!["scdiva_confidence".to_owned()],
        ..Additions::default()
    };
    let mut writer = H5adWriter::open("a.h5ad", new.open()?, &additions)?;
    let cells: Vec<String> = (0..12).map(|i| i.to_string()).collect();
    let confidence = ResultColumn {
        name: "scdiva_confidence".to_owned(),
        values: ResultValues::Numbers(vec![0.5; 12]),
    };
    writer.write_block(&cells, &[confidence])?;
    drop(writer.complete()?);
    new.publish()?;
    Ok(())
}

/// Not a test of its own: what [`a_kill_at_any_moment_leaves_the_old_file_or_the_new_one`] kills.
#[test]
fn child() {
    if let Some(path) = std::env::var_os(CHILD) {
        add_in_place(Path::new(&path)).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5ad");
    // Long enough to be killed while it is copied.
    let mut old = fixture("columns.h5ad");
    old.resize(24 << 20, 0);
    let start = || {
        std::fs::write(&path, &old).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .spawn();
        child.unwrap()
    };
    let begun = Instant::now();
    assert!(start().wait().unwrap().success());
    let whole = begun.elapsed();
    let new = std::fs::read(&path).unwrap();
    assert!(new.len() > old.len());

    let (mut n_old, mut n_new) = (0, 0);
    let n_kills = 40;
    for kill in 0..n_kills {
        let mut child = start();
        std::thread::sleep(whole.mul_f64(1.2 * f64::from(kill) / f64::from(n_kills)));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = std::fs::read(&path).unwrap();
        if found == old {
            n_old += 1;
        } else {
            assert!(
                found == new,
                "after kill {kill}: {} bytes, neither the old file nor the new one",
                found.len()
            );
            n_new += 1;
        }
        // What a killed process leaves says what it is.
        for name in names_in(folder.path()).iter().filter(|name| *name != "a.h5ad") {
            assert!(name.starts_with(".a.h5ad.") && name.ends_with(".part"), "{name}");
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
    }
    assert!(n_old > 3 && n_new > 0, "{n_old} kills too early, {n_new} too late");
}

#[test]
fn a_file_that_is_not_completed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let mut new = NewFile::create(&path).unwrap();
    new.write_all(b"half").unwrap();
    assert!(!path.exists() && names_in(folder.path()).len() == 1);
    drop(new);
    assert_eq!(names_in(folder.path()), Vec::<String>::new());

    std::fs::write(&path, "old").unwrap();
    let mut new = NewFile::create(&path).unwrap();
    new.write_all(b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    new.publish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(names_in(folder.path()), ["a.csv"]);
}

#[test]
fn a_file_that_another_program_changed_meanwhile_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5ad");
    std::fs::write(&path, "old").unwrap();
    let new = NewFile::replace(&path).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&path, "own").unwrap();
    let error = new.publish().unwrap_err().to_string();
    assert!(error.contains("a.h5ad: the file was changed by another program"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"own");
    assert_eq!(names_in(folder.path()), ["a.h5ad"]);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/a.csv");
    let error = NewFile::create(&path).unwrap_err().to_string();
    assert!(error.starts_with(path.to_str().unwrap()), "{error}");
    // Not by the name of the file that would have become it.
    assert!(!error.contains(".part"), "{error}");
    for error in [
        NewFile::create(folder.path()).unwrap_err(),
        NewFile::replace(&path).unwrap_err(),
        NewFile::copy(&path, &folder.path().join("b")).unwrap_err(),
    ] {
        assert!(error.to_string().starts_with(folder.path().to_str().unwrap()), "{error}");
    }
    assert_eq!(names_in(folder.path()), Vec::<String>::new());
}

#[cfg(unix)]
#[test]
fn permissions_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let [path, link, other, new] = ["a.h5ad", "link.h5ad", "other.h5ad", "new.h5ad"].map(|name| folder.path().join(name));
    std::fs::write(&path, fixture("columns.h5ad")).unwrap();
    symlink("a.h5ad", &link).unwrap();
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    for bits in [0o640, 0o664] {
        std::fs::write(&path, fixture("columns.h5ad")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
        add_in_place(&link).unwrap();
        assert!(link.is_symlink() && !path.is_symlink());
        assert_eq!(mode(&path), bits);
    }
    // A new file is as the system makes new files, and so is a copy, but that what is private stays so: of what may not be written there is one that may.
    std::fs::write(folder.path().join("plain"), "").unwrap();
    let usual = mode(&folder.path().join("plain"));
    for (bits, wanted) in [(0o444, usual & 0o644), (0o600, usual & 0o600), (0o440, usual & 0o640)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
        NewFile::copy(&path, &other).unwrap().publish().unwrap();
        assert_eq!(mode(&other), wanted, "{bits:o}");
        std::fs::remove_file(&other).unwrap();
    }
    // What stands there keeps its own.
    std::fs::write(&other, "old").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o640)).unwrap();
    NewFile::copy(&path, &other).unwrap().publish().unwrap();
    assert_eq!(mode(&other), 0o640);
    NewFile::create(&new).unwrap().publish().unwrap();
    assert_eq!(mode(&new), mode(&folder.path().join("plain")));
}
