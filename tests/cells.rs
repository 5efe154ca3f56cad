//! From a matrix to tokens: gene names, kinds of values, normalisation, order.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use scdiva::Result;
use scdiva::cells::{
    CellMatrix, Conversion, GeneColumn, GeneMatch, GeneReport, InputReport, MatchOptions, NameKind, NameList, Preprocess,
    Serialization, SparseRows, Species, Tokenizer, Tokens, ValueKind, Vocabulary, inspect,
};
use std::ops::Range;

/// A dense matrix in memory.
struct Memory {
    cells: Vec<String>,
    columns: Vec<GeneColumn>,
    rows: Vec<Vec<f32>>,
}

impl Memory {
    fn new(columns: &[(&str, &[&str])], rows: &[&[f32]]) -> Self {
        let columns = columns.iter().map(|(name, genes)| GeneColumn {
            name: (*name).to_owned(),
            genes: genes.iter().map(|gene| (*gene).to_owned()).collect(),
        });
        Self {
            cells: (0..rows.len()).map(|i| format!("c{i}")).collect(),
            columns: columns.collect(),
            rows: rows.iter().map(|row| row.to_vec()).collect(),
        }
    }
}

impl CellMatrix for Memory {
    fn file(&self) -> &str {
        "memory"
    }
    fn matrix(&self) -> &str {
        "X"
    }
    fn format(&self) -> &str {
        "memory"
    }
    fn n_cells(&self) -> usize {
        self.cells.len()
    }
    fn n_genes(&self) -> usize {
        self.columns[0].genes.len()
    }
    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        Ok(self.cells[cells].to_vec())
    }
    fn gene_columns(&self) -> &[GeneColumn] {
        &self.columns
    }
    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        let mut sparse = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        for row in &self.rows[cells] {
            for (gene, &value) in (0..).zip(row).filter(|(_, value)| **value != 0.0) {
                sparse.genes.push(gene);
                sparse.values.push(value);
            }
            sparse.offsets.push(sparse.genes.len());
        }
        Ok(sparse)
    }
}

/// `id symbol ensembl_id entropy aliases`
fn vocabulary(lines: &[&str]) -> Vocabulary {
    let text = format!(
        "id\tsymbol\tensembl_id\tentropy\taliases\n{}\n",
        lines.join("\n").replace(' ', "\t")
    );
    Vocabulary::parse("vocab.tsv", text.as_bytes(), 1_000, &[0]).unwrap()
}

/// A common gene, two that are alike, and a rare one; ids fall where columns rise.
fn four_genes() -> Vocabulary {
    vocabulary(&[
        "40 COMMON ENSG00000000004 1.0 ",
        "31 TWIN1 ENSG00000000003 0.5 ",
        "30 TWIN2 ENSG00000000002 0.5 ",
        "20 RARE ENSG00000000001 0.0 ",
    ])
}

const TEN: Preprocess = Preprocess {
    target_sum: 10.0,
    log1p: true,
};

fn tokenizer<'a>(
    matrix: &'a Memory,
    preprocess: &Preprocess,
    serialization: Serialization,
    max_genes: usize,
) -> Result<Tokenizer<'a>> {
    Tokenizer::new(
        matrix,
        &four_genes(),
        preprocess,
        serialization,
        max_genes,
        &MatchOptions::default(),
    )
}

fn matched(matrix: &Memory, vocabulary: &Vocabulary) -> Result<GeneMatch> {
    GeneMatch::new(matrix, vocabulary, &MatchOptions::default())
}

fn columns(report: &GeneReport) -> Vec<&str> {
    report.columns.iter().map(|column| column.name.as_str()).collect()
}

fn tokens(matrix: &Memory, serialization: Serialization, max_genes: usize) -> (Vec<Tokens>, InputReport) {
    let made = tokenizer(matrix, &TEN, serialization, max_genes).unwrap();
    (made.tokens(0..matrix.n_cells()).unwrap(), made.report().clone())
}

const GENES: [&str; 5] = ["COMMON", "TWIN1", "TWIN2", "RARE", "UNKNOWN"];

#[test]
fn tokens_of_a_cell_worked_out_by_hand() {
    // 20 counts, of which 4 are of a gene that the model does not know, scaled to 10: 4, 1.5, 1.5, 1 and the unknown 2.
    let matrix = Memory::new(
        &[("index", &GENES)],
        &[
            &[8.0, 3.0, 3.0, 2.0, 4.0],
            &[0.0; 5],
            &[0.0, 0.0, 0.0, 0.0, 9.0],
            &[0.0, 7.0, 0.0, 0.0, 0.0],
        ],
    );
    let (cells, report) = tokens(&matrix, Serialization::EntropyNormalized, 10);
    // Scores: ln 5 / 1.001 = 1.608, ln 2.5 / 0.501 = 1.829 twice, ln 2 / 0.001 = 693.
    assert_eq!(cells[0].gene_ids, [20, 30, 31, 40]);
    let expected = [2.0_f64.ln(), 2.5_f64.ln(), 2.5_f64.ln(), 5.0_f64.ln()];
    for (value, expected) in cells[0].values.iter().zip(expected) {
        assert!((f64::from(*value) - expected).abs() < 1e-7, "{value} is not {expected}");
    }
    assert!(cells[1].is_empty() && cells[2].is_empty());
    assert_eq!((cells[3].len(), cells[3].gene_ids[0]), (1, 31));
    assert_eq!(cells[3].values[0], 11.0_f32.ln());
    assert_eq!(report.values.kind, ValueKind::Counts);
    assert_eq!(
        (
            report.genes.n_matched,
            report.genes.n_vocabulary,
            report.n_cells,
            report.n_genes
        ),
        (4, 4, 4, 5)
    );

    let (cells, _) = tokens(&matrix, Serialization::Expression, 10);
    assert_eq!(cells[0].gene_ids, [40, 30, 31, 20]);
}

#[test]
fn the_last_genes_are_dropped_and_ties_go_to_the_lower_id() {
    let matrix = Memory::new(&[("index", &GENES)], &[&[8.0, 3.0, 3.0, 2.0, 4.0]]);
    for (max_genes, ids) in [(1, &[20][..]), (2, &[20, 30]), (3, &[20, 30, 31]), (4, &[20, 30, 31, 40])] {
        assert_eq!(
            tokens(&matrix, Serialization::EntropyNormalized, max_genes).0[0].gene_ids,
            ids
        );
    }
}

#[test]
fn log_normalised_values_are_used_as_they_are_and_rank_as_their_counts_do() {
    let counts = [8.0, 3.0, 3.0, 2.0, 4.0_f32];
    let logs = counts.map(|count| (count / 2.0).ln_1p());
    let (of_counts, _) = tokens(
        &Memory::new(&[("index", &GENES)], &[&counts]),
        Serialization::EntropyNormalized,
        3,
    );
    let (of_logs, report) = tokens(
        &Memory::new(&[("index", &GENES)], &[&logs]),
        Serialization::EntropyNormalized,
        3,
    );
    assert_eq!(of_counts, of_logs);
    assert_eq!(report.values.kind, ValueKind::LogNormalised);
}

#[test]
fn columns_of_one_gene_are_added_as_counts_and_reported() {
    let names: &[&str] = &["COMMON", "RARE", "ENSG00000000004.7", "TWIN1"];
    let (of_counts, report) = tokens(
        &Memory::new(&[("index", names)], &[&[5.0, 2.0, 3.0, 10.0]]),
        Serialization::Expression,
        10,
    );
    assert_eq!(of_counts[0].gene_ids, [31, 40, 20]);
    assert_eq!(of_counts[0].values[1], 5.0_f32.ln());
    assert_eq!((report.genes.n_matched, report.genes.merged.n), (3, 1));

    let logs = [5.0, 2.0, 3.0, 10.0_f32].map(|count| (count / 2.0).ln_1p());
    let (of_logs, _) = tokens(&Memory::new(&[("index", names)], &[&logs]), Serialization::Expression, 10);
    assert_eq!(of_logs[0].gene_ids, [31, 40, 20]);
    assert!((of_logs[0].values[1] - 5.0_f32.ln()).abs() < 1e-6);
}

#[test]
fn names_are_ids_without_version_then_symbols_then_aliases_and_never_guessed() {
    let vocabulary = vocabulary(&[
        "1 A ENSG00000000001 0.5 OLD|SHARED|B",
        "2 B ENSG00000000002 0.5 SHARED|B.OLD",
        "3 RP11-1.2 ENSG00000000003 0.5 ",
        "4 SAME ENSG00000000004 0.5 ",
        "5 SAME ENSG00000000005 0.5 ",
    ]);
    let names = [
        "ENSG00000000002.15",
        "A",
        "OLD",
        "B",
        "SHARED",
        "RP11-1.2",
        "RP11-1.3",
        "a",
        "SAME",
        "ENSG00000000005",
        "B.OLD",
        "",
    ];
    let matrix = Memory::new(&[("index", &names)], &[&[1.0; 12]]);
    let found = matched(&matrix, &vocabulary).unwrap();
    let expected = [
        Some(1),
        Some(0),
        Some(0),
        Some(1),
        None,
        Some(2),
        None,
        None,
        None,
        Some(4),
        Some(1),
        None,
    ];
    assert_eq!(found.positions, expected);
    assert_eq!(
        (found.report.n_matched, found.report.merged.n, found.report.ambiguous.n),
        (4, 3, 2)
    );
    assert_eq!(found.report.share, 4.0 / 5.0);
}

#[test]
fn the_column_of_names_that_fits_best_is_taken() {
    let symbols: &[&str] = &["COMMON", "old-name", "other", "x"];
    let ids: &[&str] = &["ENSG00000000004", "ENSG00000000003", "", "ENSG00000000001.2"];
    let matrix = Memory::new(
        &[("_index", symbols), ("type", &["gene"; 4]), ("gene_ids", ids)],
        &[&[1.0; 4]],
    );
    let found = matched(&matrix, &four_genes()).unwrap();
    assert_eq!((columns(&found.report), found.report.n_matched), (vec!["gene_ids"], 3));
    let matrix = Memory::new(&[("_index", ids), ("copy", ids)], &[&[1.0; 4]]);
    assert_eq!(columns(&matched(&matrix, &four_genes()).unwrap().report), ["_index"]);
}

#[test]
fn a_second_column_names_what_the_best_one_does_not() {
    let ids: &[&str] = &["ENSG00000000004", "ENSG00000000003", "", "ENSG00000000009"];
    let symbols: &[&str] = &["old-name", "TWIN2", "RARE", "COMMON"];
    let note: &[&str] = &["see", "", "", "TWIN2"];
    let matrix = Memory::new(&[("_index", ids), ("symbols", symbols), ("notes", note)], &[&[1.0; 4]]);
    let found = matched(&matrix, &four_genes()).unwrap();
    // Gene 1 is what the better column says; `notes` names too few genes to be asked.
    assert_eq!(columns(&found.report), ["symbols", "_index"]);
    assert_eq!(found.positions, [Some(0), Some(2), Some(3), Some(0)]);
    assert_eq!((found.report.n_matched, found.report.merged.n), (3, 1));
}

#[test]
fn the_share_is_of_the_smaller_side() {
    let many: Vec<String> = (0..400)
        .map(|i| format!("OTHER{i}"))
        .chain(GENES[..4].iter().map(|&gene| gene.to_owned()))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let matrix = Memory::new(&[("index", &many)], &[&[1.0; 404]]);
    assert_eq!(matched(&matrix, &four_genes()).unwrap().report.share, 1.0);
    let matrix = Memory::new(&[("index", &["RARE", "X"])], &[&[1.0, 1.0]]);
    assert_eq!(matched(&matrix, &four_genes()).unwrap().report.share, 0.5);

    let matrix = Memory::new(&[("index", &["RARE", "Xkr4", "Sox17", "Rp1"])], &[&[1.0; 4]]);
    let message = matched(&matrix, &four_genes()).unwrap_err().to_string();
    let expected = "memory: gene names in `index`: 1 of 4 genes match (25.0 %; wanted 30 %): the file has RARE, Xkr4, Sox17, …; \
                    the model knows COMMON (ENSG00000000004), TWIN1 (ENSG00000000003), TWIN2 (ENSG00000000002), …";
    assert_eq!(message, expected);
}

#[test]
fn values_that_are_neither_counts_nor_log_normalised_are_refused_by_cell_and_gene() {
    let cases = [
        (
            -0.5,
            "X: cell c1 (row 1), gene TWIN2 (column 2): -0.5 is negative: scaled data",
        ),
        (
            f32::NAN,
            "X: cell c1 (row 1), gene TWIN2 (column 2): NaN is not a finite number",
        ),
        (
            20.5,
            "X: cell c1 (row 1), gene TWIN2 (column 2): 20.5 is too large for a log-normalised value",
        ),
    ];
    for (value, expected) in cases {
        let matrix = Memory::new(&[("index", &GENES)], &[&[1.5; 5], &[1.0, 1.0, value, 1.0, 1.0]]);
        let error = tokenizer(&matrix, &TEN, Serialization::Expression, 5).unwrap_err();
        assert!(error.to_string().starts_with(&format!("memory: {expected}")), "{error}");
    }
}

#[test]
fn every_value_is_held_to_what_the_sample_said() {
    let cases = [
        (1.0, 2.5, "2.5 is no count, but the values before it are"),
        (1.0, -1.0, "-1 is negative"),
        (
            1.5,
            33.0,
            "33 is no log-normalised value (below 20), but the values before it are",
        ),
    ];
    for (usual, odd, problem) in cases {
        let row = [usual; 5];
        let mut rows: Vec<&[f32]> = vec![&row; 3_000];
        // Cell 200 stands between two runs of the sample.
        let with_odd = [usual, odd, usual, usual, usual];
        rows[200] = &with_odd;
        let matrix = Memory::new(&[("index", &GENES)], &rows);
        let made = tokenizer(&matrix, &TEN, Serialization::Expression, 5).unwrap();
        assert_eq!(made.tokens(100..200).unwrap().len(), 100);
        let message = made.tokens(150..250).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("memory: X: cell c200 (row 200), gene TWIN1 (column 1): {problem}").replace(
                "negative",
                "negative: scaled data, or residuals; wanted counts or log-normalised values"
            )
        );
    }
}

#[test]
fn the_sample_reaches_the_last_cell() {
    let row = [1.0; 5];
    let mut rows: Vec<&[f32]> = vec![&row; 5_003];
    rows[5_002] = &[-1.0, 0.0, 0.0, 0.0, 0.0];
    let matrix = Memory::new(&[("index", &GENES)], &rows);
    assert!(tokenizer(&matrix, &TEN, Serialization::Expression, 5).is_err());
}

#[test]
fn a_model_without_log1p_takes_counts_only() {
    let plain = Preprocess {
        target_sum: 10.0,
        log1p: false,
    };
    let matrix = Memory::new(&[("index", &GENES)], &[&[8.0, 3.0, 3.0, 2.0, 4.0]]);
    let made = tokenizer(&matrix, &plain, Serialization::Expression, 5).unwrap();
    assert_eq!(made.tokens(0..1).unwrap()[0].values, [4.0, 1.5, 1.5, 1.0]);
    let matrix = Memory::new(&[("index", &GENES)], &[&[0.8, 0.3, 0.3, 0.2, 0.4]]);
    let message = tokenizer(&matrix, &plain, Serialization::Expression, 5)
        .unwrap_err()
        .to_string();
    assert!(
        message
            .starts_with("memory: X: log-normalised values of unknown scale, but the model was trained on values without log1p"),
        "{message}"
    );
}

#[test]
fn a_vocabulary_with_a_fault_is_refused_with_its_line() {
    let header = "id\tsymbol\tensembl_id\tentropy\n";
    let good = "5\tA\tENSG00000000001\t0.5\n";
    let cases = [
        ("", "line 1: the header is ``"),
        (
            "id\tsymbol\n",
            "line 1: the header is `id\tsymbol`; wanted the columns id, symbol, ensembl_id, entropy",
        ),
        (header, "line 2: no genes"),
        (&format!("{header}{good}6\tB\tENSG2\n"), "line 3: 3 columns; wanted 4"),
        (&format!("{header}{good}6\tB\tENSG2\t0.1\tx\n"), "line 3: 5 columns; wanted 4"),
        (
            &format!("{header}{good}six\tB\t\t0.1\n"),
            "line 3: id `six` is not a whole number",
        ),
        (
            &format!("{header}{good}-1\tB\t\t0.1\n"),
            "line 3: id `-1` is not a whole number",
        ),
        (
            &format!("{header}{good}10\tB\t\t0.1\n"),
            "line 3: id 10 is past the model's vocab_size, 10",
        ),
        (
            &format!("{header}{good}0\tB\t\t0.1\n"),
            "line 3: id 0 is reserved by the model",
        ),
        (
            &format!("{header}{good}5\tB\t\t0.1\n"),
            "line 3: id 5 is given twice, first on line 2",
        ),
        (
            &format!("{header}{good}6\tB\tENSG00000000001.3\t0.1\n"),
            "line 3: Ensembl id ENSG00000000001.3 is given twice",
        ),
        (
            &format!("{header}{good}6\t\t\t0.1\n"),
            "line 3: neither a symbol nor an Ensembl id",
        ),
        (
            &format!("{header}{good}6\tB\t\t1.01\n"),
            "line 3: entropy 1.01 is outside 0 to 1",
        ),
        (
            &format!("{header}{good}6\tB\t\tNaN\n"),
            "line 3: entropy NaN is outside 0 to 1",
        ),
        (
            &format!("{header}{good}6\tB\t\thigh\n"),
            "line 3: entropy `high` is not a number",
        ),
    ];
    for (text, expected) in cases {
        let error = Vocabulary::parse("m/vocab.tsv", text.as_bytes(), 10, &[0]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("m/vocab.tsv: {expected}")), "{error}");
    }
    let error = Vocabulary::parse("m/vocab.tsv", b"id\xff", 10, &[0]).unwrap_err();
    assert_eq!(error.to_string(), "m/vocab.tsv: byte 2: not UTF-8");
}

#[test]
fn the_names_in_a_configuration_are_those_of_the_spec() {
    let preprocess: Preprocess = serde_json::from_str(r#"{"target_sum": 10000, "log1p": true}"#).unwrap();
    assert_eq!(preprocess, Preprocess::default());
    assert!(serde_json::from_str::<Preprocess>(r#"{"target_sum": 10000, "log1p": true, "scale": 1}"#).is_err());
    let of = |name: &str| serde_json::from_str::<Serialization>(&format!("\"{name}\"")).ok();
    assert_eq!(of("entropy-normalized"), Some(Serialization::EntropyNormalized));
    assert_eq!(of("expression"), Some(Serialization::Expression));
    assert_eq!(of("random"), None);
}
