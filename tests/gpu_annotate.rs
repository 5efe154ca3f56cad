//! The same file gives the same labels and probabilities on the GPU and on the CPU, with the embedded model.
#![expect(clippy::unwrap_used, reason = "in what the tests share a failure is a failed test")]

use scdiva::cells::{CellMatrix, GeneColumn, SparseRows};
use scdiva::gpu::Precision;
use scdiva::model::Want;
use scdiva::model::self_test::Tokens;
use scdiva::read::{self, FileSource, Files, OpenOptions};
use scdiva::tasks::Annotation;
use scdiva::{DeviceChoice, DeviceOptions, ModelFiles, Result, ScDiVa};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

/// Every 20th cell of a matrix: software adapters take a second a cell.
struct Sample {
    whole: Box<dyn CellMatrix>,
    names: Vec<String>,
}

const EVERY: usize = 20;

impl Sample {
    fn of(whole: Box<dyn CellMatrix>) -> Self {
        let names = whole
            .cell_names(0..whole.n_cells())
            .unwrap()
            .into_iter()
            .step_by(EVERY)
            .collect();
        Self { whole, names }
    }
}

impl CellMatrix for Sample {
    fn file(&self) -> &str {
        self.whole.file()
    }

    fn matrix(&self) -> &str {
        self.whole.matrix()
    }

    fn format(&self) -> &str {
        self.whole.format()
    }

    fn n_cells(&self) -> usize {
        self.names.len()
    }

    fn n_genes(&self) -> usize {
        self.whole.n_genes()
    }

    fn cell_names(&self, cells: Range<usize>) -> Result<Vec<String>> {
        Ok(self.names[cells].to_vec())
    }

    fn gene_columns(&self) -> &[GeneColumn] {
        self.whole.gene_columns()
    }

    fn read_rows(&self, cells: Range<usize>) -> Result<SparseRows> {
        let mut rows = SparseRows {
            offsets: vec![0],
            ..SparseRows::default()
        };
        for cell in cells {
            let row = self.whole.read_rows(cell * EVERY..cell * EVERY + 1)?;
            rows.genes.extend_from_slice(&row.genes);
            rows.values.extend_from_slice(&row.values);
            rows.offsets.push(rows.genes.len());
        }
        Ok(rows)
    }
}

fn annotate(device: impl Into<DeviceOptions>) -> Annotation {
    annotate_on(&mut open(device)).unwrap()
}

fn open(device: impl Into<DeviceOptions>) -> ScDiVa {
    pollster::block_on(ScDiVa::open(ModelFiles::embedded(), device)).unwrap()
}

fn annotate_on(scdiva: &mut ScDiVa) -> Result<Annotation> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/pbmc_simulated.h5ad");
    let source = Arc::new(FileSource::open(&path).unwrap());
    let sample = Sample::of(read::open(&Files::one("demo", source), &OpenOptions::default(), scdiva.vocabulary()).unwrap());
    let mut on_progress = |_| ControlFlow::Continue(());
    pollster::block_on(scdiva.annotate(&sample, &Default::default(), &Default::default(), &mut on_progress))
}

#[test]
fn gpu_and_cpu_give_the_same_labels_and_probabilities() {
    let (cpu, gpu) = (annotate(DeviceChoice::Cpu), annotate(DeviceChoice::Gpu));
    assert_eq!(cpu.predictions.len(), 12);
    assert_near(&cpu, &gpu, 1e-3);
    let labels: std::collections::BTreeSet<_> = (0..12).filter_map(|cell| cpu.label(cell)).collect();
    assert!(
        labels.len() >= 4,
        "a simulated sample of blood has more types than {labels:?}"
    );
}

/// The embedded model is stored in f16: only what is folded into its weights, and where there is f16 arithmetic its products, are rounded.
#[test]
fn f16_gives_nearly_the_same_and_is_refused_on_the_cpu() {
    let f16 = |device| DeviceOptions {
        precision: Precision::F16,
        ..DeviceOptions::from(device)
    };
    let gpu = annotate(f16(DeviceChoice::Gpu));
    assert_near(&annotate(DeviceChoice::Cpu), &gpu, 2e-2);
    let refused = pollster::block_on(ScDiVa::open(ModelFiles::embedded(), f16(DeviceChoice::Cpu)));
    assert!(refused.unwrap_err().to_string().contains("the CPU computes in f32"));
}

#[test]
fn where_a_gpu_has_little_memory_batches_are_smaller_and_the_answers_the_same() {
    let mut scdiva = open(DeviceChoice::Gpu);
    let (rows, plenty) = (scdiva.batch_rows(), annotate_on(&mut scdiva).unwrap());
    assert_eq!(scdiva.batch_rows(), rows);

    let mut scdiva = open(DeviceChoice::Gpu);
    scdiva.limit_memory(7 << 20);
    let little = annotate_on(&mut scdiva).unwrap();
    assert!(
        (512..rows).contains(&scdiva.batch_rows()),
        "{} of {rows}",
        scdiva.batch_rows()
    );
    assert_near(&plenty, &little, 1e-5);
    // A task starts with whole batches again, beside what the pool kept of the one before.
    assert_near(&plenty, &annotate_on(&mut scdiva).unwrap(), 1e-5);

    let mut scdiva = open(DeviceChoice::Gpu);
    scdiva.limit_memory(256 << 10);
    let none = annotate_on(&mut scdiva).unwrap_err();
    assert_eq!(none.code(), "memory");
    assert!(none.to_string().contains("no more memory"), "{none}");
    // And the device is as good as it was once there is.
    scdiva.limit_memory(1 << 30);
    assert_near(&plenty, &annotate_on(&mut scdiva).unwrap(), 1e-5);
    assert_eq!(scdiva.batch_rows(), rows);
}

/// What is brought to the device only when it is asked for may find no memory, and is brought again when there is some.
#[test]
fn a_gene_head_that_found_no_memory_is_brought_again() {
    let tokens = Tokens::new();
    let want = Want {
        gene_logits: true,
        ..Want::default()
    };
    let run = |scdiva: &mut ScDiVa| pollster::block_on(scdiva.forward(&tokens.cells(), want));
    let wanted = run(&mut open(DeviceChoice::Gpu)).unwrap().gene_logits;
    let mut scdiva = open(DeviceChoice::Gpu);
    // Enough for the cells, and not for 9,000 genes.
    scdiva.limit_memory(3 << 20);
    assert_eq!(run(&mut scdiva).unwrap_err().code(), "memory");
    scdiva.limit_memory(1 << 30);
    assert_eq!(run(&mut scdiva).unwrap().gene_logits, wanted);
}

/// Labels are the same, and probabilities to within `most`.
fn assert_near(cpu: &Annotation, gpu: &Annotation, most: f32) {
    for (cell, (c, g)) in cpu.predictions.iter().zip(&gpu.predictions).enumerate() {
        let (c, g) = (c.unwrap(), g.unwrap());
        assert!(
            (c.probability - g.probability).abs() < most,
            "cell {cell}: {c:?} on the CPU, {g:?} on the GPU"
        );
        assert!(
            (c.second_probability - g.second_probability).abs() < most,
            "cell {cell}: {c:?} and {g:?}"
        );
        // Two labels that are as probable as each other may change places.
        if c.probability - c.second_probability > 2.0 * most {
            assert_eq!(cpu.label(cell), gpu.label(cell), "cell {cell}: {c:?} and {g:?}");
        }
    }
}
