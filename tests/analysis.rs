//! A matrix that stays open: the command's answers, and what can be asked of it afterwards.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

mod reference;
mod support {
    pub mod checkpoint;
    pub mod command;
}

use scdiva::analysis::{Analysis, AnalysisOptions, AnalysisStage, H5adFile, Listener, Unfinished};
use scdiva::cells::{CellColumn, CellMatrix};
use scdiva::read::{self, FileSource, Files};
use scdiva::run::Stage;
use scdiva::tasks::{CellBlock, Progress};
use scdiva::{DeviceChoice, Error, ModelFiles, ScDiVa};
use std::fmt::Write;
use std::fs;
use std::ops::ControlFlow::{self, Break, Continue};
use std::path::Path;
use std::sync::Arc;
use support::command::{Place, fixture};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/pbmc_simulated.h5ad");

/// Remembers what it heard; ends at a stage.
#[derive(Default)]
struct Heard {
    stages: Vec<AnalysisStage>,
    n_cells: usize,
    end_at: Option<AnalysisStage>,
}

impl Listener for Heard {
    fn progress(&mut self, stage: AnalysisStage, progress: Progress) -> ControlFlow<()> {
        assert!(progress.n_done <= progress.n_cells);
        if self.stages.last() != Some(&stage) {
            self.stages.push(stage);
        }
        if self.end_at == Some(stage) { Break(()) } else { Continue(()) }
    }

    fn block(&mut self, cells: &[String], block: &CellBlock) {
        assert_eq!((block.cells.start, cells.len()), (self.n_cells, block.cells.len()));
        self.n_cells = block.cells.end;
    }
}

fn everything() -> AnalysisOptions {
    AnalysisOptions {
        vote: true,
        umap: true,
        ..AnalysisOptions::default()
    }
}

fn open(path: &str) -> Files {
    Files::one(path, Arc::new(FileSource::open(Path::new(path)).unwrap()))
}

fn analyse(model: ModelFiles, path: &str, options: &AnalysisOptions, heard: &mut Heard) -> Result<Analysis, Error> {
    pollster::block_on(async {
        let mut scdiva = ScDiVa::open(model, DeviceChoice::Cpu).await?;
        Analysis::new(
            &mut scdiva,
            open(path),
            &Default::default(),
            &Default::default(),
            options,
            &mut Unfinished::default(),
            heard,
        )
        .await
    })
}

fn analyse_demo() -> Analysis {
    let options = AnalysisOptions {
        groups: Some("simulated_from".to_owned()),
        ..everything()
    };
    analyse(ModelFiles::embedded(), DEMO, &options, &mut Heard::default()).unwrap()
}

/// The whole file, with the input between the pieces.
fn joined(file: H5adFile, input: &str) -> Vec<u8> {
    let mut whole = if file.on_original {
        fs::read(input).unwrap()
    } else {
        Vec::new()
    };
    for (at, bytes) in file.pieces {
        let at = usize::try_from(at).unwrap();
        assert!(at <= whole.len(), "a gap before byte {at}");
        whole.resize(whole.len().max(at + bytes.len()), 0);
        whole[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    assert_eq!(whole.len() as u64, file.size);
    whole
}

fn categories(analysis: &Analysis, name: &str) -> (Vec<Option<u32>>, Vec<String>) {
    match analysis.column(name).unwrap() {
        CellColumn::Categories { codes, names } => (codes, names),
        CellColumn::Numbers(_) => unreachable!("{name} holds texts"),
    }
}

/// `ln(1 + counts per 10,000)` of every gene, `[n_cells][n_genes]`, by plain loops.
fn log_normalised(matrix: &dyn CellMatrix) -> Vec<Vec<f64>> {
    let rows = matrix.read_rows(0..matrix.n_cells()).unwrap();
    let row = |cell| {
        let (genes, values) = rows.row(cell);
        let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
        let mut row = vec![0.0; matrix.n_genes()];
        for (&gene, &value) in genes.iter().zip(values) {
            row[gene as usize] = (f64::from(value) / sum * 1e4).ln_1p();
        }
        row
    };
    (0..matrix.n_cells()).map(row).collect()
}

/// Ends when so many cells have their answers; counts those that the model answered.
struct Stopping {
    after: usize,
    end_at: Option<AnalysisStage>,
    first: Option<usize>,
    last: usize,
}

impl Listener for Stopping {
    fn progress(&mut self, stage: AnalysisStage, progress: Progress) -> ControlFlow<()> {
        if self.end_at == Some(stage) {
            return Break(());
        }
        if stage == AnalysisStage::Annotate {
            self.first.get_or_insert(progress.n_done);
            self.last = progress.n_done;
            if progress.n_done >= self.after {
                return Break(());
            }
        }
        Continue(())
    }

    fn block(&mut self, _cells: &[String], _block: &CellBlock) {}
}

const TO_THE_END: (usize, Option<AnalysisStage>) = (usize::MAX, None);

#[test]
fn what_was_cancelled_goes_on_where_it_ended_unless_anything_is_another() {
    let place = Place::telling();
    let mut text = "cell".to_owned();
    (0..20).for_each(|gene| write!(text, ",GENE{gene}").unwrap());
    for cell in 0..700 {
        write!(text, "\ncell_{cell}").unwrap();
        (0..20).for_each(|gene| write!(text, ",{}", (cell * 7 + gene * gene * 5) % 11).unwrap());
    }
    fs::write(place.path("in.csv"), text).unwrap();
    let input = place.text("in.csv");
    let model = ModelFiles::from_folder(place.0.path()).unwrap();
    let mut scdiva = pollster::block_on(ScDiVa::open(model, DeviceChoice::Cpu)).unwrap();
    let mut unfinished = Unfinished::default();
    let mut run = |(after, end_at), min_probability: Option<f32>, unfinished: &mut Unfinished| {
        let mut options = AnalysisOptions {
            vote: true,
            ..AnalysisOptions::default()
        };
        options.annotate.min_probability = min_probability;
        let mut stopping = Stopping {
            after,
            end_at,
            first: None,
            last: 0,
        };
        let (opening, matching) = Default::default();
        let made = Analysis::new(
            &mut scdiva,
            open(&input),
            &opening,
            &matching,
            &options,
            unfinished,
            &mut stopping,
        );
        let csv = pollster::block_on(made).map(|mut analysis| analysis.csv(0.5).unwrap());
        (csv, stopping.first.unwrap(), stopping.last)
    };
    let (whole, first, n_cells) = run(TO_THE_END, None, &mut unfinished);
    let whole = whole.unwrap();
    assert_eq!((first, unfinished.n_cells()), (0, 0));
    // Before the second block is whole: one is kept.
    let (cancelled, _, last) = run((300, None), None, &mut unfinished);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert!(last < n_cells);
    assert_eq!(unfinished.n_cells(), 256);
    let (again, first, last) = run(TO_THE_END, None, &mut unfinished);
    assert_eq!((first, last, unfinished.n_cells()), (256, n_cells, 0));
    assert_eq!(again.unwrap(), whole);
    // At a later stage: all answers are kept.
    let neighbours = Some(AnalysisStage::Whole(Stage::Neighbours));
    let (cancelled, ..) = run((usize::MAX, neighbours), None, &mut unfinished);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(unfinished.n_cells(), n_cells);
    let (again, first, _) = run(TO_THE_END, None, &mut unfinished);
    assert_eq!((first, again.unwrap(), unfinished.n_cells()), (n_cells, whole, 0));
    // Another threshold: what was kept is not of this run.
    let (cancelled, ..) = run((300, None), None, &mut unfinished);
    assert!(cancelled.is_err() && unfinished.n_cells() == 256);
    let (other, first, _) = run(TO_THE_END, Some(0.9), &mut unfinished);
    assert!(other.is_ok() && first == 0);
}

#[test]
fn tables_and_files_are_those_of_the_command() {
    let place = Place::telling();
    let model = || ModelFiles::from_folder(place.0.path()).unwrap();
    let (csv, h5ad) = (place.text("out.csv"), place.text("out.h5ad"));
    for name in ["columns.h5ad", "csr_f32_gzip.h5ad", "tenx_v3.h5", "genes_by_cells.csv.gz"] {
        let input = fixture(name);
        let mut heard = Heard::default();
        let mut analysis = analyse(model(), &input, &everything(), &mut heard).unwrap();
        assert_eq!(heard.n_cells, analysis.report().n_cells);
        let stages: Vec<&str> = heard.stages.iter().map(|stage| stage.name()).collect();
        assert_eq!(stages, ["read", "annotate", "neighbours", "clusters", "umap"]);
        for threshold in ["0", "0.9"] {
            let how = ["--vote", "--umap", "--all-columns", "--min-probability", threshold];
            place
                .run(&[&["annotate", &input, "-o", &csv], &how[..]].concat())
                .assert_code(0);
            place
                .run(&[&["annotate", &input, "-o", &h5ad], &how[..]].concat())
                .assert_code(0);
            let threshold: f32 = threshold.parse().unwrap();
            assert!(analysis.csv(threshold).unwrap() == fs::read(&csv).unwrap(), "{name}: CSV");
            let file = analysis.h5ad(threshold, &mut |_| Continue(())).unwrap();
            assert_eq!(file.on_original, input.ends_with(".h5ad"));
            assert!(joined(file, &input) == fs::read(&h5ad).unwrap(), "{name}: .h5ad");
        }
    }
}

#[test]
fn a_column_of_the_file_may_vote_and_must_be_there() {
    let place = Place::telling();
    let input = fixture("columns.h5ad");
    let with = |groups: &str| {
        let options = AnalysisOptions {
            groups: Some(groups.to_owned()),
            ..AnalysisOptions::default()
        };
        analyse(
            ModelFiles::from_folder(place.0.path()).unwrap(),
            &input,
            &options,
            &mut Heard::default(),
        )
    };
    let mut analysis = with("group").unwrap();
    let csv = place.text("out.csv");
    place
        .run(&["annotate", &input, "-o", &csv, "--all-columns", "--groups", "group"])
        .assert_code(0);
    assert!(analysis.csv(0.0).unwrap() == fs::read(&csv).unwrap());
    assert!(analysis.umap().is_none());
    let error = with("nothing").unwrap_err().to_string();
    assert!(error.contains("no obs column nothing; it has "), "{error}");
}

#[test]
fn every_stage_can_be_ended() {
    let mut heard = Heard::default();
    analyse(ModelFiles::embedded(), DEMO, &everything(), &mut heard).unwrap();
    for stage in heard.stages {
        let mut heard = Heard {
            end_at: Some(stage),
            ..Heard::default()
        };
        let ended = analyse(ModelFiles::embedded(), DEMO, &everything(), &mut heard);
        assert!(matches!(ended, Err(Error::Cancelled)), "{stage:?}");
        assert_eq!(heard.stages.last(), Some(&stage));
    }
}

/// Numbers of scanpy 1.11.5 on its own log-normalised values (`normalize_total(target_sum=1e4)`, `log1p`, then in f64),
/// `rank_genes_groups("simulated_from", method="t-test", pts=True)`: tests/goldens/markers.py.
#[test]
fn markers_are_those_of_scanpy() {
    let wanted = [
        ("CD4 T", "RPS25", [10.344601, 1.901806, 1.0, 0.848649]),
        ("CD4 T", "LTB", [9.509002, 2.716790, 0.927273, 0.486486]),
        ("CD4 T", "RPS27A", [9.215045, 1.773953, 1.0, 0.859459]),
        ("NK", "GNLY", [36.225765, 7.931419, 1.0, 0.138095]),
        ("NK", "NKG7", [30.694715, 6.526666, 1.0, 0.266667]),
        ("NK", "GZMB", [28.119198, 6.892467, 1.0, 0.138095]),
        ("Platelet", "GPX1", [20.512510, 6.230774, 1.0, 0.365217]),
        ("Platelet", "PF4", [20.178253, 11.231674, 1.0, 0.021739]),
        ("Platelet", "TALDO1", [17.243618, 5.778257, 1.0, 0.273913]),
    ];
    let analysis = analyse_demo();
    let (codes, names) = categories(&analysis, "simulated_from");
    let markers = analysis.markers(&codes, names.len(), 3, &mut |_| Continue(())).unwrap();
    for (i, (group, gene, numbers)) in wanted.into_iter().enumerate() {
        let group = names.iter().position(|name| name == group).unwrap();
        let marker = markers[group][i % 3];
        assert_eq!(analysis.gene_name(marker.gene), gene);
        let got = [
            marker.score,
            marker.log2_fold_change,
            marker.share_inside,
            marker.share_outside,
        ];
        for (got, wanted) in got.into_iter().zip(numbers) {
            assert!(
                (got - wanted).abs() < 1e-4 * wanted.abs().max(1.0),
                "{gene}: {got} and {wanted}"
            );
        }
    }
}

#[test]
fn markers_are_what_plain_sums_in_f64_say() {
    let analysis = analyse_demo();
    let matrix = read::open(&open(DEMO), &Default::default(), None).unwrap();
    let values = log_normalised(matrix.as_ref());
    // Every third cell against the others, a few of which are in no group.
    let groups: Vec<Option<u32>> = (0..240).map(|cell| [Some(1), Some(0), None][cell % 3]).collect();
    let markers = analysis.markers(&groups, 2, usize::MAX, &mut |_| Continue(())).unwrap();
    let n_genes = matrix.n_genes();
    let t_of = |gene: usize| {
        let side = |inside: bool| {
            let cells = (0..240).filter(|cell| (cell % 3 == 0) == inside);
            let side: Vec<f64> = cells.map(|cell| values[cell][gene]).collect();
            let n = side.len() as f64;
            let mean = side.iter().sum::<f64>() / n;
            let variance = side.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
            (mean, variance / n)
        };
        let ((a, va), (b, vb)) = (side(true), side(false));
        (a - b) / (va + vb).sqrt()
    };
    let higher = (0..n_genes).filter(|&gene| t_of(gene) > 1e-9).count();
    assert!(
        higher > 100 && markers[1].len() == higher,
        "{higher} and {}",
        markers[1].len()
    );
    for marker in &markers[1] {
        let wanted = t_of(marker.gene);
        assert!(
            (marker.score - wanted).abs() < 1e-4 * wanted.max(1.0),
            "{} and {wanted}",
            marker.score
        );
    }
    assert!(markers[1].windows(2).all(|pair| pair[0].score >= pair[1].score));

    let alone: Vec<Option<u32>> = (0..240).map(|cell| (cell == 7).then_some(0)).collect();
    let none = analysis.markers(&alone, 1, 5, &mut |_| Continue(())).unwrap();
    assert_eq!(none, [vec![]]);
    for (groups, n_groups) in [(&groups[1..], 2), (&groups[..], 1)] {
        let refused = analysis.markers(groups, n_groups, 5, &mut |_| Continue(()));
        assert!(matches!(refused, Err(Error::Argument { argument: "groups", .. })));
    }
    let ended = analysis.markers(&groups, 2, 5, &mut |_| Break(()));
    assert!(matches!(ended, Err(Error::Cancelled)));
}

#[test]
fn genes_dots_and_sums_are_those_of_plain_loops() {
    let analysis = analyse_demo();
    let matrix = read::open(&open(DEMO), &Default::default(), None).unwrap();
    let values = log_normalised(matrix.as_ref());
    let genes = &matrix.gene_columns()[0].genes;
    assert_eq!(analysis.genes(), genes);
    let column = genes.iter().position(|gene| gene == "CD74").unwrap();
    let cd74 = analysis.gene("CD74", &mut |_| Continue(())).unwrap();
    for (got, row) in cd74.iter().zip(&values) {
        assert!((f64::from(*got) - row[column]).abs() < 1e-6);
    }
    assert_eq!(analysis.gene("cd74", &mut |_| Continue(())).unwrap(), cd74);
    let error = analysis.gene("CD740", &mut |_| Continue(())).unwrap_err().to_string();
    assert!(error.contains("no gene CD740 among its 4000"), "{error}");

    let (codes, names) = categories(&analysis, "simulated_from");
    let asked = ["CD74", "nothing", "NKG7", "CD74"].map(str::to_owned);
    let n_groups = names.len() + 1;
    let dots = analysis.dot_plot(&asked, &codes, n_groups, &mut |_| Continue(())).unwrap();
    assert_eq!(dots.missing, ["nothing"]);
    for (place, gene) in asked.iter().enumerate() {
        for group in 0..n_groups {
            let got = (dots.mean[place * n_groups + group], dots.share[place * n_groups + group]);
            let column = genes.iter().position(|name| name == gene);
            let cells: Vec<usize> = (0..240)
                .filter(|&cell| codes[cell].map(|code| code as usize) == Some(group))
                .collect();
            let Some(column) = column.filter(|_| !cells.is_empty()) else {
                assert!(got.0.is_nan() && got.1.is_nan(), "{gene} in {group}: {got:?}");
                continue;
            };
            let n = cells.len() as f64;
            let mean = cells.iter().map(|&cell| values[cell][column]).sum::<f64>() / n;
            let share = cells.iter().filter(|&&cell| values[cell][column] > 0.0).count() as f64 / n;
            assert!((f64::from(got.0) - mean).abs() < 1e-5 && (f64::from(got.1) - share).abs() < 1e-6);
        }
    }

    let rows = matrix.read_rows(0..240).unwrap();
    let qc = analysis.qc();
    let any_mitochondrial = genes.iter().any(|gene| gene.starts_with("MT-"));
    for cell in 0..240 {
        let (columns, counts) = rows.row(cell);
        assert_eq!(qc.n_genes[cell] as usize, counts.iter().filter(|&&count| count > 0.0).count());
        let total: f32 = counts.iter().sum();
        assert!((qc.total[cell] - total).abs() < 1e-3);
        let of_mt = columns
            .iter()
            .zip(counts)
            .filter(|(column, _)| genes[**column as usize].starts_with("MT-"));
        let share = of_mt.map(|(_, count)| count).sum::<f32>() / total;
        let near = (qc.mitochondrial[cell] - share).abs() < 1e-6;
        assert!(if any_mitochondrial {
            near
        } else {
            qc.mitochondrial[cell].is_nan()
        });
    }
}

#[test]
fn embeddings_of_the_file_give_two_numbers_a_cell() {
    let place = Place::telling();
    let model = ModelFiles::from_folder(place.0.path()).unwrap();
    let input = fixture("columns.h5ad");
    let analysis = analyse(model, &input, &AnalysisOptions::default(), &mut Heard::default()).unwrap();
    let matrix = read::open(&open(&input), &Default::default(), None).unwrap();
    let names = matrix.embeddings();
    assert!(!names.is_empty());
    for name in names {
        let own = matrix.embedding(name).unwrap().unwrap();
        match analysis.embedding(name) {
            Ok(rows) => {
                let wanted: Vec<[f32; 2]> = own.values.chunks_exact(own.n_cols).map(|row| [row[0], row[1]]).collect();
                assert_eq!(rows, wanted);
            }
            Err(error) => assert!(own.n_cols < 2, "{error}"),
        }
    }
    let error = analysis.embedding("X_none").unwrap_err().to_string();
    assert!(error.contains("no embedding X_none; it has "), "{error}");
}

#[test]
fn genes_are_called_by_symbols_and_found_by_ids_and_columns_of_one_name_are_one_gene() {
    let place = Place::telling();
    let model = || ModelFiles::from_folder(place.0.path()).unwrap();
    let analysis_of = |name: &str, header: &str, rows: [&str; 3]| {
        let lines: Vec<String> = rows.iter().enumerate().map(|(i, row)| format!("c{i},{row}\n")).collect();
        fs::write(place.path(name), format!("cell,{header}\n{}", lines.concat())).unwrap();
        analyse(model(), &place.text(name), &AnalysisOptions::default(), &mut Heard::default()).unwrap()
    };
    let rows = ["1,0,3,1", "0,2,0,0", "5,1,1,3"];
    let ids: Vec<String> = (0..4).map(|gene| format!("ENSG{gene:011}")).collect();
    let by_id = analysis_of("ids.csv", &ids.join(","), rows);
    assert_eq!(by_id.genes(), ["GENE0", "GENE1", "GENE2", "GENE3"]);
    let gene2 = by_id.gene("ENSG00000000002", &mut |_| Continue(())).unwrap();
    assert_eq!(gene2, by_id.gene("GENE2", &mut |_| Continue(())).unwrap());
    let of = |count: f64, sum: f64| (1e4 * count / sum).ln_1p();
    for (got, wanted) in gene2.iter().zip([of(3.0, 5.0), 0.0, of(1.0, 10.0)]) {
        assert!((f64::from(*got) - wanted).abs() < 1e-6, "{got} and {wanted}");
    }
    assert!(by_id.qc().mitochondrial.iter().all(|share| share.is_nan()));

    let twice = analysis_of("twice.csv", "GENE0,GENE1,GENE0,MT-CO1", rows);
    assert_eq!(twice.genes(), ["GENE0", "GENE1", "MT-CO1"]);
    assert_eq!(twice.qc().n_genes, [2, 1, 3]);
    assert_eq!(twice.qc().total, [5.0, 2.0, 10.0]);
    assert_eq!(twice.qc().mitochondrial, [0.2, 0.0, 0.3]);
    let gene0 = twice.gene("GENE0", &mut |_| Continue(())).unwrap();
    for (got, wanted) in gene0.iter().zip([of(4.0, 5.0), 0.0, of(6.0, 10.0)]) {
        assert!((f64::from(*got) - wanted).abs() < 1e-6, "{got} and {wanted}");
    }
}
