//! Tables of results: pandas and pyarrow read what was written, to the bit.
#![expect(clippy::unwrap_used, reason = "in tests a failure is a failed test")]

mod support {
    pub mod python;
}

use scdiva::write::csv::CsvTable;
use scdiva::write::parquet::ParquetTable;
use scdiva::write::{ResultColumn, ResultEmbedding, ResultValues, TableWriter};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use support::python;

const N_CELLS: usize = 1000;
const BLOCK_LEN: usize = 64;

/// Columns by the formulas of `tests/python/tables.py`.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn columns(cells: Range<usize>) -> Vec<ResultColumn> {
    let names: Arc<[String]> = ["B", "T αβ, \"late\"\tor\nnot", "never"].map(str::to_owned).into();
    let number = |i: usize| match i % 7 {
        0 => f32::NAN,
        1 => 1.0e-38 / (i + 1) as f32,
        2 => -3.4e38 / (i + 1) as f32,
        _ => i as f32 / 7.0,
    };
    let values = [
        ResultValues::Categories {
            codes: cells.clone().map(|i| (i % 4 != 1).then_some(u32::from(i % 3 == 0))).collect(),
            names,
        },
        ResultValues::Numbers(cells.clone().map(number).collect()),
        ResultValues::Truths(cells.map(|i| i % 2 == 1).collect()),
    ];
    let names = ["scdiva_cell_type", "scdiva_confidence", "scdiva_rejected"].map(str::to_owned);
    names
        .into_iter()
        .zip(values)
        .map(|(name, values)| ResultColumn { name, values })
        .collect()
}

fn names(cells: Range<usize>) -> Vec<String> {
    cells.map(|i| format!("Zelle,{i}-\"ä\"")).collect()
}

fn blocks() -> impl Iterator<Item = Range<usize>> {
    (0..N_CELLS)
        .step_by(BLOCK_LEN)
        .map(|start| start..N_CELLS.min(start + BLOCK_LEN))
}

fn write(mut writer: Box<dyn TableWriter + '_>) {
    for cells in blocks() {
        writer.write_block(&names(cells.clone()), &columns(cells)).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn python_reads_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str| File::create_new(folder.path().join(name)).unwrap();
    write(Box::new(CsvTable::new(create("table.csv"), b',')));
    write(Box::new(CsvTable::new(create("table.tsv"), b'\t')));
    write(Box::new(ParquetTable::new(create("table.parquet"))));
    Box::new(CsvTable::new(create("empty.csv"), b',')).finish().unwrap();
    Box::new(ParquetTable::new(create("empty.parquet"))).finish().unwrap();

    let mut table = Box::new(ParquetTable::new(create("embedding.parquet")));
    for cells in blocks() {
        let values: Vec<f32> = (cells.start * 5..cells.end * 5).map(|i| i as f32 / 3.0).collect();
        let embedding = ResultEmbedding {
            name: "X_scdiva",
            n_cols: 5,
            values: &values,
        };
        table
            .write_block_with(&names(cells.clone()), &columns(cells), &[embedding])
            .unwrap();
    }
    table.finish().unwrap();
    python::run("tables.py", &[folder.path().to_str().unwrap()]);
}

#[test]
fn blocks_that_do_not_fit_are_refused() {
    let (mut csv, mut parquet) = (CsvTable::new(vec![], b','), ParquetTable::new(vec![]));
    let writers: [(&str, &mut dyn TableWriter); 2] = [("csv", &mut csv), ("parquet", &mut parquet)];
    for (format, writer) in writers {
        let mut refuse = |cells: Range<usize>, columns: &[ResultColumn]| {
            let error = writer.write_block(&names(cells), columns).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{format}: {error}");
            error.to_string()
        };
        let error = refuse(0..2, &columns(0..3));
        assert_eq!(error, "scdiva_cell_type: 3 values for 2 cells", "{format}");
        let past = ResultColumn {
            name: "type".to_owned(),
            values: ResultValues::Categories {
                codes: vec![Some(1)],
                names: Arc::new(["a".to_owned()]),
            },
        };
        refuse(0..1, &[past]);
    }
    let (mut csv, mut parquet) = (CsvTable::new(vec![], b','), ParquetTable::new(vec![]));
    let writers: [(&str, &mut dyn TableWriter); 2] = [("csv", &mut csv), ("parquet", &mut parquet)];
    for (format, writer) in writers {
        writer.write_block(&names(0..3), &columns(0..3)).unwrap();
        let error = writer.write_block(&names(0..3), &columns(0..3)[1..]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{format}: {error}");
    }
}

#[test]
fn a_large_table_goes_to_the_file_in_groups_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.parquet");
    let mut table = Box::new(ParquetTable::new(File::create_new(&path).unwrap()));
    // 60,000 cells of 256 numbers that do not compress are 61 MB.
    let scattered = |i: u32| f32::from_bits(i.wrapping_mul(2_654_435_761) & 0x3FFF_FFFF);
    let values: Vec<f32> = (0..256_000).map(scattered).collect();
    for _ in 0..60 {
        let embedding = ResultEmbedding {
            name: "X_scdiva",
            n_cols: 256,
            values: &values,
        };
        table.write_block_with(&names(0..1000), &[], &[embedding]).unwrap();
    }
    table.finish().unwrap();
    let groups = python::run("tables.py", &["groups", path.to_str().unwrap()]);
    assert_eq!(groups.trim(), "60000 in 2 or more", "{groups}");
}
