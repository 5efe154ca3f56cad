//! What `annotate` leaves in the user's hands: an `.h5ad` with our columns, Parquet, and nothing of the user's lost.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
    pub mod python;
}

use std::fs;
use support::command::{Place, fixture};
use support::python;

fn copy(place: &Place, name: &str) -> String {
    fs::copy(fixture(name), place.path(name)).unwrap();
    place.text(name)
}

#[test]
fn an_h5ad_gets_our_columns_and_keeps_its_own() {
    let place = Place::telling();
    let input = copy(&place, "columns.h5ad");
    let before = fs::read(&input).unwrap();
    let (csv, h5ad) = (place.text("out.csv"), place.text("out.h5ad"));
    let votes = ["--groups", "group"];
    place
        .run(&[&["annotate", &input, "--all-columns", "-o", &csv], &votes[..]].concat())
        .assert_code(0);
    place
        .run(&[&["annotate", &input, "-o", &h5ad], &votes[..]].concat())
        .assert_code(0);
    assert_eq!(fs::read(&input).unwrap(), before);
    python::run("annotated_h5ad.py", &[&input, &h5ad, &csv]);

    // In place: the same, and again only when it is asked for.
    place
        .run(&[&["annotate", &input, "--in-place"], &votes[..]].concat())
        .assert_code(0);
    fs::write(place.path("before.h5ad"), &before).unwrap();
    python::run("annotated_h5ad.py", &[&place.text("before.h5ad"), &input, &csv]);
    place
        .run(&["annotate", &input, "--in-place"])
        .assert_error(&["columns.h5ad", "scdiva_cell_type", "exists already"]);
    place
        .run(&[&["annotate", &input, "--in-place", "--replace"], &votes[..]].concat())
        .assert_code(0);
    python::run("annotated_h5ad.py", &[&place.text("before.h5ad"), &input, &csv]);
}

/// A folder around a file changes nothing; what cannot go into a new file is said before anything is computed.
#[test]
fn an_h5ad_in_a_folder_is_that_file_and_a_new_one_is_not_said_to_be_all() {
    let place = Place::new();
    let input = copy(&place, "columns.h5ad");
    place.run(&["annotate", &input, "-o", &place.text("own.h5ad")]).assert_code(0);
    fs::create_dir(place.path("folder")).unwrap();
    fs::rename(&input, place.path("folder/columns.h5ad")).unwrap();
    let (folder, output) = (place.text("folder"), place.text("out.h5ad"));
    let left_out = "does not go into it";
    let ran = place.run(&["annotate", &folder, "-o", &output]);
    assert!(!ran.assert_code(0).stderr.contains(left_out), "{}", ran.stderr);
    assert!(fs::read(&output).unwrap() == fs::read(place.path("own.h5ad")).unwrap());
    place
        .run(&["annotate", &folder, "-o", &place.text("folder/columns.h5ad")])
        .assert_error(&["folder/columns.h5ad is the input"]);

    for input in ["age_0.12.h5ad.zip", "age_0.12.zarr.zip"] {
        let ran = place.run(&["annotate", &fixture(input), "-o", &output]);
        let [said, device] = [left_out, "device: "].map(|part| ran.stderr.find(part).unwrap());
        assert!(ran.code == Some(0) && said > device, "{}", ran.stderr);
        let ran = place.run(&["annotate", &fixture(input), "-o", &place.text("out.csv")]);
        assert!(!ran.assert_code(0).stderr.contains(left_out), "{}", ran.stderr);
    }
    let ran = place.run(&["annotate", &fixture("tenx_v3.h5"), "-o", &output]);
    assert!(!ran.assert_code(0).stderr.contains(left_out), "{}", ran.stderr);
}

#[test]
fn any_other_format_becomes_an_h5ad() {
    let place = Place::telling();
    for input in ["genes_by_cells.csv.gz", "tenx_v3.h5", "counts.loom", "age_0.12.h5ad.zip"] {
        let (csv, h5ad) = (place.text("out.csv"), place.text("out.h5ad"));
        place
            .run(&["annotate", &fixture(input), "--all-columns", "-o", &csv])
            .assert_code(0);
        place.run(&["annotate", &fixture(input), "-o", &h5ad]).assert_code(0);
        python::run("annotated_h5ad.py", &["-", &h5ad, &csv]);
        place
            .run(&["annotate", &fixture(input), "--in-place"])
            .assert_error(&["only an .h5ad can get results in place"]);
    }
}

#[test]
fn parquet_holds_what_the_table_holds() {
    let place = Place::telling();
    let input = fixture("columns.h5ad");
    let votes = ["--groups", "sample", "--umap"];
    let (csv, parquet) = (place.text("out.csv"), place.text("out.parquet"));
    place
        .run(&[&["annotate", &input, "--all-columns", "-o", &csv], &votes[..]].concat())
        .assert_code(0);
    place
        .run(&[&["annotate", &input, "-o", &parquet], &votes[..]].concat())
        .assert_code(0);
    python::run("annotated_parquet.py", &[&parquet, &csv]);
}

#[test]
fn what_stands_in_the_way_is_found_before_anything_is_computed() {
    let place = Place::telling();
    let old = copy(&place, "legacy.h5ad");
    place
        .run(&["annotate", &old, "-o", &place.text("out.h5ad")])
        .assert_error(&["legacy.h5ad", "obs", "anndata 0.6"]);
    let results = place.results();
    assert_eq!(results, ["legacy.h5ad"], "nothing was begun");
}
