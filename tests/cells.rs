//! From a matrix to tokens: gene names, kinds of values, normalisation, order.

#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]
#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use scdiva::Result;
use scdiva::cells::{
    CellMatrix, Conversion, GeneColumn, GeneMatch, GeneReport, InputReport, MatchOptions, NameKind, NameList, Preprocess,
    Serialization, SparseRows, Species, Tokenizer, Tokens, ValueKind, Vocabulary, inspect, without_empty_droplets,
};
use std::ops::Range;

/// A dense matrix in memory.
struct Memory {
    cells: Vec<String>,
    columns: Vec<GeneColumn>,
    rows: Vec<Vec<f32>>,
    log_base: Option<f64>,
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
            log_base: None,
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
    fn log_base(&self) -> Option<f64> {
        self.log_base
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

/// Numbers without pattern, the same on every machine.
struct Random(u64);

impl Random {
    /// From 0 to below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const SIX: [&str; 6] = ["COMMON", "TWIN1", "TWIN2", "RARE", "OTHER1", "OTHER2"];

/// Counts of 40 cells of different depth, of six genes, two of which the model does not know.
fn counts() -> Vec<Vec<f32>> {
    let mut random = Random(7);
    (0..40)
        .map(|cell| {
            let row = (0..6).map(|gene| random.below(3 + cell % 7 * (gene + 1)) as f32);
            row.collect::<Vec<f32>>()
        })
        .map(|mut row| {
            row[1] += 1.0;
            row
        })
        .collect()
}

fn memory(rows: &[Vec<f32>]) -> Memory {
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    Memory::new(&[("index", &SIX)], &rows)
}

/// The counts of a cell scaled to a sum, then changed one by one.
fn scaled(sum: Option<f64>, change: impl Fn(f64) -> f64) -> Vec<Vec<f32>> {
    let of = |row: &Vec<f32>| {
        let factor = sum.map_or(1.0, |sum| sum / row.iter().map(|&x| f64::from(x)).sum::<f64>());
        row.iter().map(|&x| change(f64::from(x) * factor) as f32).collect()
    };
    counts().iter().map(of).collect()
}

#[test]
fn every_scale_that_can_be_told_gives_the_tokens_of_the_counts() {
    let (expected, report) = tokens(&memory(&counts()), Serialization::EntropyNormalized, 10);
    assert_eq!(
        (report.values.kind, report.values.conversion),
        (ValueKind::Counts, Conversion::Normalise)
    );
    let e = std::f64::consts::E;
    let (log, log_1p) = (ValueKind::LogNormalised, f64::ln_1p as fn(f64) -> f64);
    type Case = (
        &'static str,
        Option<f64>,
        fn(f64) -> f64,
        ValueKind,
        Option<f64>,
        Option<f64>,
        Conversion,
    );
    let cases: [Case; 7] = [
        (
            "ln, the model's sum",
            Some(10.0),
            log_1p,
            log,
            Some(e),
            Some(10.0),
            Conversion::AsTheyAre,
        ),
        (
            "ln, another sum",
            Some(1e4),
            log_1p,
            log,
            Some(e),
            Some(1e4),
            Conversion::Rescale,
        ),
        (
            "log2 of CPM",
            Some(1e6),
            |x| (1.0 + x).log2(),
            log,
            Some(2.0),
            Some(1e6),
            Conversion::Rescale,
        ),
        (
            "log10, the model's sum",
            Some(10.0),
            |x| (1.0 + x).log10(),
            log,
            Some(10.0),
            Some(10.0),
            Conversion::Rescale,
        ),
        (
            "CPM",
            Some(1e6),
            |x| x,
            ValueKind::Normalised,
            None,
            Some(1e6),
            Conversion::Normalise,
        ),
        (
            "shares",
            Some(1.0),
            |x| x,
            ValueKind::Normalised,
            None,
            Some(1.0),
            Conversion::Normalise,
        ),
        (
            "ln of counts",
            None,
            log_1p,
            ValueKind::LogCounts,
            Some(e),
            None,
            Conversion::Normalise,
        ),
    ];
    for (name, sum, change, kind, base, target, conversion) in cases {
        let (found, report) = tokens(&memory(&scaled(sum, change)), Serialization::EntropyNormalized, 10);
        let values = &report.values;
        assert_eq!(
            (values.kind, values.conversion, values.log_base),
            (kind, conversion, base),
            "{name}"
        );
        let near = |a: Option<f64>, b: Option<f64>| a.zip(b).map_or(a == b, |(a, b)| (a / b - 1.0).abs() < 1e-3);
        assert!(near(values.target_sum, target), "{name}: {:?}", values.target_sum);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.gene_ids.len(), expected.gene_ids.len(), "{name}");
            for (&id, value) in found.gene_ids.iter().zip(&found.values) {
                let place = expected.gene_ids.iter().position(|&other| other == id).unwrap();
                let expected = expected.values[place];
                assert!((value - expected).abs() < 2e-5, "{name}: {value} is not {expected}");
            }
        }
    }
    // The logarithm of counts is undone exactly.
    let of_logs = tokens(&memory(&scaled(None, f64::ln_1p)), Serialization::EntropyNormalized, 10);
    assert_eq!(of_logs.0, expected);
}

#[test]
fn natural_logarithms_of_the_models_sum_are_used_to_the_bit() {
    let logs = scaled(Some(10.0), f64::ln_1p);
    let (found, _) = tokens(&memory(&logs), Serialization::Expression, 10);
    for (tokens, row) in found.iter().zip(&logs) {
        for (&id, value) in tokens.gene_ids.iter().zip(&tokens.values) {
            let gene = [40, 31, 30, 20].iter().position(|&other| other == id).unwrap();
            assert_eq!(value.to_bits(), row[gene].to_bits());
        }
    }
}

#[test]
fn where_genes_are_missing_the_file_may_tell_the_base_but_nobody_the_sum() {
    let without_last = |rows: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
        rows.into_iter()
            .map(|mut row| {
                row[4] = 0.0;
                row[5] = 0.0;
                row
            })
            .collect()
    };
    let natural = memory(&without_last(scaled(Some(7.3), f64::ln_1p)));
    let (expected, report) = tokens(&natural, Serialization::Expression, 10);
    let values = &report.values;
    assert_eq!(
        (values.kind, values.log_base, values.target_sum),
        (ValueKind::LogNormalised, None, None)
    );
    assert_eq!(values.conversion, Conversion::AsTheyAre);
    assert!(values.text.contains("cannot be told"), "{}", values.text);

    let mut binary = memory(&without_last(scaled(Some(7.3), |x| (1.0 + x).log2())));
    binary.log_base = Some(2.0);
    let (found, report) = tokens(&binary, Serialization::Expression, 10);
    assert_eq!(
        (report.values.log_base, report.values.conversion),
        (Some(2.0), Conversion::Rescale)
    );
    for (a, b) in found
        .iter()
        .flat_map(|t| &t.values)
        .zip(expected.iter().flat_map(|t| &t.values))
    {
        assert!((a - b).abs() < 1e-5, "{a} is not {b}");
    }
}

#[test]
fn estimated_counts_are_taken_with_a_warning_and_other_fractions_are_not() {
    let noisy = |width: f64| {
        let mut random = Random(3);
        let mut rows = counts();
        for value in rows.iter_mut().flatten().filter(|value| **value > 0.0) {
            *value = (*value * 9.0 - width as f32 * random.below(1000) as f32 / 1000.0).max(0.0);
        }
        rows
    };
    let (_, report) = tokens(&memory(&noisy(0.1)), Serialization::Expression, 10);
    assert_eq!(
        (report.values.kind, report.values.conversion),
        (ValueKind::EstimatedCounts, Conversion::Normalise)
    );
    assert!(report.values.text.contains("Counts as they were measured are better"));

    // One fraction among counts is no estimate.
    let mut odd = counts();
    odd[7][1] = 2.5;
    let message = tokenizer(&memory(&odd), &TEN, Serialization::Expression, 5)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("(row 7), gene TWIN1 (column 1): 2.5 is no whole number, but nearly all"),
        "{message}"
    );

    let message = tokenizer(&memory(&noisy(1.0)), &TEN, Serialization::Expression, 5)
        .unwrap_err()
        .to_string();
    for part in [
        "is too large for a log-normalised value",
        "nor do the cells have one sum",
        "wanted counts",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_model_without_log1p_takes_logarithms_whose_scale_is_known() {
    let plain = Preprocess { log1p: false, ..TEN };
    let matrix = memory(&scaled(Some(1e4), f64::ln_1p));
    let made = tokenizer(&matrix, &plain, Serialization::Expression, 10).unwrap();
    let row = &counts()[0];
    let expected = 10.0 * row[..4].iter().copied().fold(0.0, f32::max) / row.iter().sum::<f32>();
    assert!((made.tokens(0..1).unwrap()[0].values[0] - expected).abs() < 1e-4);
}

#[test]
fn cells_without_counts_are_counted() {
    let mut rows = counts();
    rows[3] = vec![0.0; 6];
    rows[9] = vec![0.0; 6];
    let (found, report) = tokens(&memory(&rows), Serialization::Expression, 10);
    assert_eq!((report.values.n_sampled_cells, report.values.n_empty_cells), (40, 2));
    assert!(found[3].is_empty() && report.to_string().contains("2 of the 40 cells"));
}

/// Peaks beside genes say nothing by their small letters.
#[test]
fn names_of_regions_do_not_tell_the_species() {
    let genes: Vec<String> = (0..30).map(|i| format!("{} GENE{i} ENSG{i:011} 0.5 ", i + 1)).collect();
    let genes: Vec<&str> = genes.iter().map(String::as_str).collect();
    let mut columns: Vec<String> = (0..30).map(|i| format!("chr1:{i}00-{i}50")).collect();
    columns.extend((0..30).map(|i| format!("chr2-{i}00-{i}50")));
    columns.extend((0..30).map(|i| format!("GENE{i}")));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let matrix = Memory::new(&[("index", &columns)], &[&[1.0; 90]]);
    let report = matched(&matrix, &vocabulary(&genes)).unwrap().report;
    assert_eq!(report.recognition.species.as_deref(), Some("human"));
}

fn names(list: &NameList) -> (usize, Vec<&str>) {
    (list.n, list.first.iter().map(String::as_str).collect())
}

#[test]
fn each_step_of_finding_a_gene_is_counted_and_shown() {
    let vocabulary = vocabulary(&[
        "1 CD3D ENSG00000167286 0.5 T3D",
        "2 JCHAIN ENSG00000132465 0.4 IGJ",
        "3 HLA-A ENSG00000206503 0.3 ",
        "4 C1orf112 ENSG00000000460 0.2 ",
        "5 RHOD ENSG00000173156 0.1 Rho",
        "6 SAME ENSG00000000004 0.5 ",
        "7 SAME ENSG00000000005 0.5 ",
        "8 PLCXD1 ENSG00000182378 0.5 ",
        "9 MKI67 ENSG00000148773 0.0 ",
    ]);
    let columns = [
        "ENSG00000182378.15_PAR_Y",
        "RP11-1.1_ENSG00000173156",
        "CD3D",
        "IGJ",
        "HLA.A",
        "C1ORF112",
        "CD3D-1",
        "LINC9-1",
        "RHO",
        "SAME",
        "2-Sep",
        " JCHAIN ",
        "Cd3d",
        "",
    ];
    let matrix = Memory::new(&[("index", &columns)], &[&[1.0; 14]]);
    let report = matched(&matrix, &vocabulary).unwrap().report;
    let first = ["ENSG00000182378.15_PAR_Y → PLCXD1", "RP11-1.1_ENSG00000173156 → RHOD"];
    assert_eq!(names(&report.by_id), (2, first.to_vec()));
    assert_eq!(names(&report.by_symbol).0, 2);
    assert_eq!(names(&report.by_alias), (1, vec!["IGJ → JCHAIN"]));
    assert_eq!(names(&report.by_spelling), (2, vec!["HLA.A → HLA-A", "C1ORF112 → C1orf112"]));
    assert_eq!(names(&report.by_suffix), (1, vec!["CD3D-1 → CD3D"]));
    assert_eq!(report.merged.n, 2);
    assert_eq!(names(&report.ambiguous), (1, vec!["SAME"]));
    assert_eq!(names(&report.dates), (1, vec!["2-Sep"]));
    // RHO is another gene than the alias of RHOD; Cd3d is one of mouse; the last has no name.
    assert_eq!(names(&report.unmatched), (4, vec!["LINC9-1", "RHO", "Cd3d", ""]));
    assert_eq!(names(&report.missing), (3, vec!["MKI67", "SAME", "SAME"]));
    assert_eq!((report.n_matched, report.columns[0].kind), (6, NameKind::Mixed));

    let steps = report.steps();
    assert!(
        steps.starts_with("2 by Ensembl id, 2 by symbol, 1 by previous symbol or alias"),
        "{steps}"
    );
    assert!(report.lines().iter().any(|line| line.contains("IGJ → JCHAIN")));
}

#[test]
fn a_number_behind_a_name_is_taken_off_only_where_no_id_says_that_it_is_another_gene() {
    let symbols: &[&str] = &["COMMON", "COMMON-1", "COMMON-2", "RARE"];
    let ids: &[&str] = &["ENSG00000000004", "ENSG00000099999", "", "ENSG00000000001"];
    let matrix = Memory::new(&[("symbols", symbols), ("ids", ids)], &[&[1.0; 4]]);
    let found = matched(&matrix, &four_genes()).unwrap();
    assert_eq!(found.positions, [Some(0), None, Some(0), Some(3)]);
    assert_eq!((found.report.by_suffix.n, found.report.merged.n), (1, 1));
}

#[test]
fn prefixes_of_a_genome_are_taken_off_when_nearly_all_names_have_one() {
    for prefix in ["GRCh38_", "GRCh38-", "hg19_", "GRCh38______", "GRCh38-2020-A_"] {
        let names = GENES.map(|gene| format!("{prefix}{gene}"));
        let names = names.each_ref().map(String::as_str);
        let report = matched(&Memory::new(&[("index", &names)], &[&[1.0; 5]]), &four_genes())
            .unwrap()
            .report;
        assert_eq!(report.n_matched, 4, "{prefix}");
        assert_eq!(report.genome.as_deref(), Some(prefix.split(['_', '-']).next().unwrap()));
    }
    // A mixture with mouse: only the human ones, and never Rare for RARE.
    let both = ["GRCh38_COMMON", "GRCh38_TWIN1", "GRCh38_TWIN2", "mm10_RARE", "mm10_Rare"];
    let report = matched(&Memory::new(&[("index", &both)], &[&[1.0; 5]]), &four_genes())
        .unwrap()
        .report;
    assert_eq!((report.n_matched, report.other_genome.n, report.share), (3, 2, 1.0));
    assert_eq!(report.recognition.species.as_deref(), Some("human and mouse"));
    assert!(report.lines()[0].contains("only those of human are used"));
    // A few names that look prefixed are names.
    let few = ["hg19_COMMON", "TWIN1", "TWIN2", "RARE", "X"];
    assert_eq!(
        matched(&Memory::new(&[("index", &few)], &[&[1.0; 5]]), &four_genes())
            .unwrap()
            .report
            .n_matched,
        3
    );
}

#[test]
fn the_user_may_say_which_column_names_the_genes() {
    let matrix = Memory::new(
        &[("_index", &GENES), ("other", &["RARE", "TWIN2", "TWIN1", "COMMON", "X"])],
        &[&[1.0; 5]],
    );
    let mut options = MatchOptions::default();
    options.gene_column = Some("other".to_owned());
    let found = GeneMatch::new(&matrix, &four_genes(), &options).unwrap();
    assert_eq!(
        (columns(&found.report), &found.positions[..2]),
        (vec!["other"], &[Some(3), Some(2)][..])
    );
    options.gene_column = Some("symbol".to_owned());
    let message = GeneMatch::new(&matrix, &four_genes(), &options).unwrap_err().to_string();
    assert_eq!(
        message,
        "match genes: gene_column: memory: symbol: no such column; the file has _index, other"
    );
}

const MOUSE: &str = "mouse_id\tmouse_symbol\thuman_id\n\
                     ENSMUSG00000000001\tCom1\tENSG00000000004\n\
                     ENSMUSG00000000002\tRare\tENSG00000000001\n\
                     ENSMUSG00000000003\tTwice\tENSG00000000002\n\
                     ENSMUSG00000000004\tTwice\tENSG00000000009\n";

#[test]
fn genes_of_mouse_are_refused_until_the_user_agrees_and_then_mapped_by_orthologs_alone() {
    let symbols: Vec<String> = (0..30).map(|i| format!("Gene{i}")).collect();
    let mut symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    symbols[..4].copy_from_slice(&["Com1", "Rare", "Twice", "Twin1"]);
    let ids: Vec<String> = (1..=30).map(|i| format!("ENSMUSG{i:011}.2")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (symbols, ids) = (
        Memory::new(&[("index", &symbols)], &[&[1.0; 30]]),
        Memory::new(&[("index", &ids)], &[&[1.0; 30]]),
    );
    let mut knows = four_genes();
    knows.add_mouse_orthologs("orthologs.tsv", MOUSE.as_bytes()).unwrap();
    for matrix in [&symbols, &ids] {
        let message = matched(matrix, &knows).unwrap_err().to_string();
        assert!(message.starts_with("memory: species: the genes are of mouse ("), "{message}");
        assert!(message.contains("`--species mouse`"), "{message}");
        assert!(
            !matched(matrix, &four_genes())
                .unwrap_err()
                .to_string()
                .contains("`--species mouse`")
        );
    }
    let mut options = MatchOptions::default();
    options.species = Some(Species::Mouse);
    let found = GeneMatch::new(&symbols, &knows, &options).unwrap();
    // Twin1 has no ortholog in the table, whatever its capitals say; Twice is two genes.
    assert_eq!(&found.positions[..5], [Some(0), Some(3), None, None, None]);
    assert_eq!(
        (found.report.n_matched, names(&found.report.ambiguous)),
        (2, (1, vec!["Twice"]))
    );
    assert!(found.report.lines()[0].starts_with("mouse mapped to human"));
    let found = GeneMatch::new(&ids, &knows, &options).unwrap();
    assert_eq!(&found.positions[..4], [Some(0), Some(3), Some(2), None]);

    let message = GeneMatch::new(&symbols, &four_genes(), &options).unwrap_err().to_string();
    assert!(message.contains("no table of orthologs"), "{message}");
    let human = Memory::new(&[("index", &["ENSG00000000004", "ENSG00000000001"])], &[&[1.0; 2]]);
    let message = GeneMatch::new(&human, &knows, &options).unwrap_err().to_string();
    assert!(message.contains("mouse was chosen, but the genes are of human"), "{message}");
    // The user knows best: these are human genes in unusual letters.
    options.species = Some(Species::Human);
    let few = Memory::new(&[("index", &["Common", "Rare", "Twin1", "twin2"])], &[&[1.0; 4]]);
    assert_eq!(GeneMatch::new(&few, &knows, &options).unwrap().report.by_spelling.n, 4);
}

#[test]
fn other_species_are_refused_by_name() {
    let numbered = |letters: &str| (0..30).map(|i| format!("{letters}{i:011}")).collect::<Vec<_>>();
    let fly: Vec<String> = (0..30).map(|i| format!("FBgn{i:07}")).collect();
    let fish: Vec<String> = (0..30).map(|i| format!("gene{i}a")).collect();
    let rat: Vec<String> = (0..30).map(|i| format!("Rnor6_Gene{i}")).collect();
    let cases = [
        (numbered("ENSDARG"), "zebrafish (Ensembl ids"),
        (numbered("ENSRNOG"), "rat (Ensembl ids"),
        (numbered("ENSXYZG"), "another species (Ensembl ids"),
        (fly, "fruit fly"),
        (fish, "zebrafish or frog (symbols such as gene0a, in small letters)"),
        (rat, "rat (the prefix Rnor6"),
    ];
    for (genes, expected) in cases {
        let genes: Vec<&str> = genes.iter().map(String::as_str).collect();
        let message = matched(&Memory::new(&[("index", &genes)], &[&[1.0; 30]]), &four_genes())
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with(&format!("memory: species: the genes are of {expected}")),
            "{message}"
        );
        assert!(message.contains("`--species human`"), "{message}");
    }
}

#[test]
fn a_table_of_orthologs_with_a_fault_is_refused_with_its_line() {
    let header = "mouse_id\tmouse_symbol\thuman_id\n";
    let cases = [
        ("id\tsymbol\n".to_owned(), "line 1: wanted the columns mouse_id"),
        (format!("{header}ENSMUSG00000000001\tA\n"), "line 2: wanted three columns"),
        (
            format!("{header}ENSMUSG00000000001\tA\tENSG00000000099\n"),
            "table: no pair with a gene",
        ),
    ];
    for (text, expected) in cases {
        let error = four_genes()
            .add_mouse_orthologs("o.tsv", text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("o.tsv: {expected}")), "{error}");
    }
    let error = four_genes()
        .add_mouse_orthologs("o.tsv.gz", b"\x1f\x8b\x08nothing")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("o.tsv.gz: gzip: "), "{error}");
}

/// 200 cells among 6,000 barcodes, at places without pattern.
fn unfiltered() -> (Vec<Vec<f32>>, Vec<usize>) {
    let mut random = Random(11);
    let mut rows = Vec::new();
    let mut cells = Vec::new();
    for barcode in 0..6_000_u64 {
        if random.below(6_000) < 200 {
            cells.push(barcode as usize);
            rows.push((0..5).map(|_| 100.0 + random.below(300) as f32).collect());
        } else {
            rows.push((0..5).map(|_| random.below(8) as f32 % 2.0).collect());
        }
    }
    (rows, cells)
}

fn droplets(rows: &[Vec<f32>], min_counts: Option<u64>) -> Result<Box<dyn CellMatrix>> {
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    without_empty_droplets(Box::new(Memory::new(&[("index", &GENES)], &rows)), min_counts)
}

#[test]
fn the_empty_droplets_of_an_unfiltered_matrix_are_left_out_and_told() {
    let (rows, cells) = unfiltered();
    let matrix = droplets(&rows, None).unwrap();
    assert_eq!(matrix.n_cells(), cells.len());
    let dropped = matrix.droplets().unwrap();
    assert_eq!(dropped.kept, cells.iter().map(|&cell| cell as u32).collect::<Vec<_>>());
    assert_eq!((dropped.n_barcodes, dropped.chosen), (6_000, false));
    let names: Vec<String> = cells[20..90].iter().map(|cell| format!("c{cell}")).collect();
    assert_eq!(matrix.cell_names(20..90).unwrap(), names);
    let block = matrix.read_rows(20..90).unwrap();
    for (i, &cell) in cells[20..90].iter().enumerate() {
        assert_eq!(block.row(i).1, rows[cell]);
    }
    assert!(matrix.read_rows(0..cells.len() + 1).is_err());

    let options = MatchOptions::default();
    let made = Tokenizer::new(matrix.as_ref(), &four_genes(), &TEN, Serialization::Expression, 5, &options).unwrap();
    let report = made.report();
    assert_eq!(
        (report.n_cells, report.droplets.as_ref().unwrap().n_dropped),
        (cells.len(), 6_000 - cells.len())
    );
    assert!(report.to_string().contains("barcodes are empty droplets"), "{report}");
}

#[test]
fn the_user_may_say_how_many_counts_a_cell_has() {
    let (rows, cells) = unfiltered();
    assert!(droplets(&rows, Some(0)).unwrap().droplets().is_none());
    assert_eq!(
        droplets(&rows, Some(1_000_000)).err().map(|error| error.code()),
        Some("argument")
    );
    let matrix = droplets(&rows, Some(6)).unwrap();
    assert_eq!(matrix.n_cells(), cells.len());
    assert!(matrix.droplets().unwrap().chosen);
    // A small matrix is one of cells, whatever they hold, unless the user says otherwise.
    assert!(droplets(&rows[..4_000], None).unwrap().droplets().is_none());
    let few = droplets(&rows[..100], Some(2)).unwrap();
    assert_eq!(
        few.n_cells(),
        rows[..100].iter().filter(|row| row.iter().sum::<f32>() >= 2.0).count()
    );
    let logs: Vec<Vec<f32>> = vec![vec![0.5; 5]; 10];
    let message = droplets(&logs, Some(2)).err().unwrap().to_string();
    assert_eq!(message, "open: min_counts: memory: X holds no counts");
    // Many cells with few counts each, as of a panel of genes, are no droplets: none of them stands out.
    let panel: Vec<Vec<f32>> = (0..6_000).map(|i| vec![1.0, (i % 3) as f32, 2.0, 0.0, 1.0]).collect();
    assert!(droplets(&panel, None).unwrap().droplets().is_none());
}

#[test]
fn what_cannot_be_used_is_inspected_all_the_same() {
    let mut rows = counts();
    rows[5][2] = -1.0;
    let found = inspect(&memory(&rows), Some(&four_genes()), &TEN, &MatchOptions::default());
    assert_eq!((found.n_cells, found.genes.unwrap().n_matched, found.values), (40, 4, None));
    assert!(found.problem.unwrap().contains("-1 is negative: scaled data"));

    let foreign = Memory::new(&[("index", &["A", "B", "C", "D", "E", "F"])], &[&[1.0; 6]]);
    let found = inspect(&foreign, Some(&four_genes()), &TEN, &MatchOptions::default());
    assert_eq!(
        (found.genes, found.values.map(|values| values.kind)),
        (None, Some(ValueKind::Counts))
    );
    assert!(found.problem.unwrap().contains("0 of 4 genes match"));

    let found = inspect(&memory(&counts()), None, &TEN, &MatchOptions::default());
    assert!(found.problem.unwrap().contains("no vocab.tsv"));
    let found = inspect(&memory(&counts()), Some(&four_genes()), &TEN, &MatchOptions::default());
    assert_eq!(found.problem, None);
}
