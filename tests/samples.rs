//! Several matrices as the samples of one.

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
}

use scdiva::cells::{CellColumn, CellMatrix, Samples};
use scdiva::read::{self, Files};
use scdiva::{Error, Result};
use std::sync::Arc;
use support::command::{Place, fixture};

fn table(name: &str, text: &str) -> Result<Box<dyn CellMatrix>> {
    read::open(&Files::one(name, Arc::new(text.to_owned())), &Default::default(), None)
}

fn join(samples: &[(&str, &str)]) -> Result<Samples> {
    let opened = samples.iter();
    let opened = opened.map(|(name, text)| Ok(((*name).to_owned(), table(&format!("{name}.csv"), text)?)));
    Samples::join("both", opened.collect::<Result<_>>()?)
}

const FIRST: &str = "cell,CD3D,MS4A1,NKG7\nAAAC,3,0,1\nAAAG,0,2,0\n";
const SECOND: &str = "cell,NKG7,LYZ,CD3D\nAAAC,5,0,4\nCCCC,0,7,0\nGGGG,0,0,0\n";

#[test]
fn genes_are_matched_by_name_and_cells_follow_one_another() -> Result<()> {
    let both = join(&[("a", FIRST), ("b", SECOND)])?;
    assert_eq!((both.n_cells(), both.n_genes()), (5, 4));
    assert_eq!(both.gene_columns()[0].genes, ["CD3D", "MS4A1", "NKG7", "LYZ"]);
    assert_eq!(both.cell_names(1..4)?, ["AAAG-a", "AAAC-b", "CCCC-b"]);
    let dense = |rows: &scdiva::cells::SparseRows, row: usize| {
        let mut values = vec![0.0; 4];
        let (genes, given) = rows.row(row);
        for (&gene, &value) in genes.iter().zip(given) {
            values[gene as usize] += value;
        }
        values
    };
    let rows = both.read_rows(1..5)?;
    let found: Vec<Vec<f32>> = (0..4).map(|row| dense(&rows, row)).collect();
    assert_eq!(
        found,
        [[0.0, 2.0, 0.0, 0.0], [4.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 7.0], [0.0; 4]]
    );
    assert_eq!(both.read_rows(2..2)?.n_rows(), 0);
    assert!(both.read_rows(4..6).is_err() && both.cell_names(0..6).is_err());
    let sample = both.cell_column("sample")?;
    let codes = [0, 0, 1, 1, 1].map(Some).to_vec();
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(sample, Some(CellColumn::Categories { codes, names }));
    let notes = both.notes().join("\n");
    assert!(
        notes.contains("a 2, b 3") && notes.contains("2 of 4 genes are in all samples"),
        "{notes}"
    );
    Ok(())
}

#[test]
fn what_does_not_fit_together_is_named() {
    let refused = |samples: &[(&str, &str)], parts: &[&str]| {
        let text = match join(samples) {
            Ok(_) => "joined".to_owned(),
            Err(error) => error.to_string(),
        };
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    };
    refused(&[], &["both", "there are none"]);
    refused(&[("a", FIRST), ("a", SECOND)], &["two are called a"]);
    let other_genes = "cell,ENSG00000010610,ENSG00000153563,ENSG00000105374\nA,1,2,3\n";
    refused(
        &[("a", FIRST), ("b", other_genes)],
        &["b.csv: genes: 0 %", "a.csv", "CD3D there", "ENSG00000010610 here"],
    );
    let logs: String = (0..30).map(|i| format!("c{i},1.7,0.{i},2.{i}\n")).collect();
    refused(
        &[("a", FIRST), ("b", &format!("cell,CD3D,MS4A1,NKG7\n{logs}"))],
        &["b.csv: cells × genes: log-normalised values", "of a.csv holds counts"],
    );
}

/// Each scale alone could be brought to the model's, both together could not.
#[test]
fn values_of_another_scale_are_refused() {
    let logs = |sum: f64| {
        let row = |i: usize| {
            let counts = [1 + i % 3, 2 + i % 5, 4 + i % 7];
            let total: usize = counts.iter().sum();
            let log = counts.map(|n| format!("{:.5}", (n as f64 * sum / total as f64).ln_1p()));
            format!("c{i},{}\n", log.join(","))
        };
        format!("cell,CD3D,MS4A1,NKG7\n{}", (0..60).map(row).collect::<String>())
    };
    let (a, b) = (logs(2300.0), logs(4800.0));
    assert!(join(&[("a", a.as_str()), ("b", a.as_str())]).is_ok());
    let error = join(&[("a", a.as_str()), ("b", b.as_str())])
        .err()
        .map(|error| error.to_string());
    let error = error.unwrap_or_default();
    assert!(error.contains("4800 a cell") && error.contains("2300 a cell"), "{error}");
}

#[test]
fn other_names_of_genes_are_kept_and_a_name_that_comes_twice_is_two_columns() -> Result<()> {
    let h5 =
        |path: &str| -> Result<Box<dyn CellMatrix>> { read::open(&Files::from_path(path.as_ref())?, &Default::default(), None) };
    let alone = h5(&fixture("tenx_v3.h5"))?;
    let twice = |name: &str| Ok::<_, Error>((name.to_owned(), h5(&fixture("tenx_v3.h5"))?));
    let both = Samples::join("both", vec![twice("a")?, twice("b")?])?;
    let names = |matrix: &dyn CellMatrix| {
        let mut columns = matrix.gene_columns().to_vec();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        columns
    };
    assert!(alone.gene_columns().len() > 1);
    assert_eq!(names(&both), names(alone.as_ref()));

    let double = "cell,CD3D,MS4A1,CD3D\nA,1,2,3\nB,4,5,6\n";
    let both = join(&[("a", double), ("b", double)])?;
    assert_eq!(both.gene_columns()[0].genes, ["CD3D", "MS4A1", "CD3D"]);
    assert_eq!(both.read_rows(2..3)?.row(0), (&[0, 1, 2][..], &[1.0, 2.0, 3.0][..]));
    Ok(())
}

#[test]
fn columns_of_all_samples_are_there_and_what_one_lacks_has_no_value() -> Result<()> {
    let h5ad =
        |path: &str| -> Result<Box<dyn CellMatrix>> { read::open(&Files::from_path(path.as_ref())?, &Default::default(), None) };
    let with = h5ad(&fixture("columns.h5ad"))?;
    let (columns, n_with) = (with.cell_columns().to_vec(), with.n_cells());
    let genes = &with.gene_columns()[0].genes;
    let header: Vec<&str> = genes.iter().map(String::as_str).collect();
    let without = table(
        "plain.csv",
        &format!("cell,{}\nx{}\n", header.join(","), ",1".repeat(header.len())),
    )?;
    assert!(!columns.is_empty());
    let both = Samples::join(
        "both",
        vec![
            ("with".to_owned(), h5ad(&fixture("columns.h5ad"))?),
            ("without".to_owned(), without),
        ],
    )?;
    // It has a column `sample` of its own.
    assert_eq!(both.cell_columns()[0], "scdiva_sample");
    assert_eq!(both.cell_columns()[1..], columns);
    for name in &columns {
        match (with.cell_column(name)?, both.cell_column(name)?) {
            (Some(CellColumn::Numbers(own)), Some(CellColumn::Numbers(all))) => {
                let same = own.iter().zip(&all).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                assert!(same && all.len() == n_with + 1 && all[n_with].is_nan(), "{name}: {all:?}");
            }
            (
                Some(CellColumn::Categories { codes: own, names }),
                Some(CellColumn::Categories {
                    codes: all,
                    names: joined,
                }),
            ) => {
                let text = |code: Option<u32>, names: &[String]| code.map(|code| names[code as usize].clone());
                for (cell, code) in own.into_iter().enumerate() {
                    assert_eq!(text(code, &names), text(all[cell], &joined), "{name}, cell {cell}");
                }
                assert_eq!((all.len(), all[n_with]), (n_with + 1, None), "{name}");
            }
            (own, all) => return Err(Error::argument("test", "column", format!("{name}: {own:?} became {all:?}"))),
        }
    }
    assert_eq!(both.cell_column("nothing")?, None);
    Ok(())
}

#[test]
fn the_command_takes_several_inputs_together() {
    let place = Place::new();
    let inputs = [fixture("csr_f32_gzip.h5ad"), fixture("cells_by_genes.tsv.gz")];
    let alone = inputs.clone().map(|input| place.run(&["annotate", &input]).stdout);
    let together = place.run(&["annotate", "--together", &inputs[0], &inputs[1]]);
    together.assert_code(0);
    assert!(
        together
            .stderr
            .contains("cells of each sample: csr_f32_gzip 12, cells_by_genes 12"),
        "{}",
        together.stderr
    );
    // A cell's answer does not depend on the others; its name says which sample it is of.
    let body = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let answers = |lines: &[String]| {
        let answer = |line: &String| line.rsplitn(5, ',').take(4).map(str::to_owned).collect::<Vec<_>>();
        lines.iter().map(answer).collect::<Vec<_>>()
    };
    let wanted: Vec<String> = alone.iter().flat_map(|text| body(text)).collect();
    let found = body(&together.stdout);
    assert_eq!(answers(&found), answers(&wanted));
    assert!(
        found[0].starts_with("cell-00-csr_f32_gzip,") && found[12].starts_with("cell-00-cells_by_genes,"),
        "{found:?}"
    );

    place
        .run(&[
            "annotate",
            "--together",
            &inputs[0],
            &inputs[1],
            "-o",
            &place.text("all.h5ad"),
        ])
        .assert_code(0);
    let inspected = place.run(&["inspect", &place.text("all.h5ad")]);
    inspected.assert_code(0);
    for part in ["24 cells", "sample (2 values)", "scdiva_cell_type"] {
        assert!(inspected.stdout.contains(part), "`{part}` is not in {}", inspected.stdout);
    }
    // Results of the first run are no part of the second.
    place
        .run(&["annotate", &inputs[0], "-o", &place.text("one.h5ad")])
        .assert_code(0);
    place
        .run(&[
            "annotate",
            "--together",
            &place.text("one.h5ad"),
            &place.text("all.h5ad"),
            "-o",
            &place.text("again.h5ad"),
        ])
        .assert_code(0);
    place
        .run(&[
            "annotate",
            "--together",
            "--shard",
            "1/2",
            &inputs[0],
            &inputs[1],
            "-o",
            &place.text("part"),
        ])
        .assert_code(2);
    place
        .run(&["annotate", "--together", &inputs[0], &inputs[0]])
        .assert_error(&["is given twice"]);
}
