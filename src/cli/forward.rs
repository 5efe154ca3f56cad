//! `scdiva forward`.
#![expect(
    clippy::doc_markdown,
    reason = "what documents an argument is its help text, which is plain"
)]

use super::Outcome;
use super::interrupt;
use super::output::OutputFile;
use super::session::{DeviceArgs, Session, io_error, progress_bar};
use clap::Args;
use safetensors::Dtype;
use scdiva::model::{CellInput, Config, Output, TensorFile, Want};
use scdiva::read::FileSource;
use scdiva::write::safetensors::SafetensorsWriter;
use scdiva::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// About as many output numbers as are in memory at a time: 256 MiB.
const MAX_OUTPUT_LEN: usize = 1 << 26;

#[derive(Debug, Args)]
pub(super) struct Forward {
    /// Tokens: gene_ids (i32 or i64, [B, L]), values (f32, [B, L]) and perhaps masked (u8, [B, L], 1 where masked)
    #[arg(long, value_name = "BATCH.safetensors")]
    input: PathBuf,
    /// Where the answer goes, all f32: latent [B, D], hidden [B, L, D], gene_logits [B, L, V], values [B, L]
    #[arg(short, long, value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Also write attention [B, N, H, L + 1, L + 1]
    #[arg(long)]
    attention: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A batch as it stands in the file.
struct Batch {
    n_cells: usize,
    /// L.
    n_genes: usize,
    gene_ids: Vec<u32>,
    values: Vec<f32>,
    masked: Option<Vec<bool>>,
}

impl Forward {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let file = TensorFile::open(&self.input.display().to_string(), Arc::new(FileSource::open(&self.input)?))?;
        let model = session.model_paths();
        let read: Vec<&Path> = model.iter().chain([&self.input]).map(PathBuf::as_path).collect();
        let output = OutputFile::create(&self.output, &read)?;
        let mut scdiva = session.open(&self.device).await?;
        let config = scdiva.config().clone();
        let batch = Batch::read(&file, &config)?;
        say!("{}: {} cells of {} genes", file.name(), batch.n_cells, batch.n_genes);

        let tensors = shapes(&config, &batch, self.attention);
        let failed = io_error(&self.output);
        let mut writer = SafetensorsWriter::new(output, &tensors).map_err(&failed)?;
        let want = Want {
            hidden: true,
            gene_logits: true,
            values: true,
            attention: self.attention,
            mean: false,
        };
        let per_cell: usize = tensors.iter().map(|(_, shape)| shape[1..].iter().product::<usize>()).sum();
        let cells = batch.cells();
        let bar = progress_bar(cells.len());
        for some in cells.chunks((MAX_OUTPUT_LEN / per_cell.max(1)).max(1)) {
            if interrupt::requested() {
                return Err(Error::Cancelled);
            }
            let answer = scdiva.forward(some, want).await?;
            write(&mut writer, &answer).map_err(&failed)?;
            bar.inc(some.len() as u64);
        }
        bar.finish_and_clear();
        writer.finish().map_err(&failed)?.finish()?;
        Ok(Outcome::Done)
    }
}

impl Batch {
    fn read(file: &TensorFile, config: &Config) -> Result<Self> {
        let wrong = |tensor: &str, problem: String| Error::file(file.name(), tensor, problem);
        let extra = file
            .tensor_names()
            .into_iter()
            .find(|name| !["gene_ids", "values", "masked"].contains(&name.as_str()));
        if let Some(extra) = extra {
            return Err(wrong(
                &extra,
                "not a tensor of a batch; wanted gene_ids, values and perhaps masked".to_owned(),
            ));
        }
        let ids = file.info("gene_ids")?;
        let &[n_cells, n_genes] = ids.shape.as_slice() else {
            return Err(wrong("gene_ids", format!("shape {:?}, wanted [B, L]", ids.shape)));
        };
        let expect_type = |tensor: &str, wanted: &[Dtype]| match file.info(tensor)?.dtype {
            found if wanted.contains(&found) => file.expect_shape(tensor, &[n_cells, n_genes]),
            found => Err(wrong(tensor, format!("type {found:?}, wanted {wanted:?}"))),
        };
        if n_genes > config.max_genes {
            let problem = format!("{n_genes} genes a cell, but the model takes {}", config.max_genes);
            return Err(wrong("gene_ids", problem));
        }
        expect_type("gene_ids", &[Dtype::I32, Dtype::I64])?;
        expect_type("values", &[Dtype::F32])?;
        let place = |i: usize| format!("at [{}, {}]", i / n_genes.max(1), i % n_genes.max(1));
        let check_id = |(i, id): (usize, i64)| match u32::try_from(id) {
            Ok(small) if (small as usize) < config.vocab_size => Ok(small),
            _ => {
                let problem = format!(
                    "{id} {}, but the vocabulary has {} ids from 0 on",
                    place(i),
                    config.vocab_size
                );
                Err(wrong("gene_ids", problem))
            }
        };
        let gene_ids = file
            .read_i64("gene_ids")?
            .into_iter()
            .enumerate()
            .map(check_id)
            .collect::<Result<_>>()?;
        let mut values = vec![0.0; n_cells * n_genes];
        file.read_f32("values", 0..n_cells * n_genes, &mut values)?;
        let masked = if file.tensor_names().iter().any(|name| name == "masked") {
            expect_type("masked", &[Dtype::U8, Dtype::BOOL])?;
            let check_mask = |(i, mask): (usize, i64)| match mask {
                0 | 1 => Ok(mask == 1),
                _ => Err(wrong("masked", format!("{mask} {}, wanted 0 or 1", place(i)))),
            };
            Some(
                file.read_i64("masked")?
                    .into_iter()
                    .enumerate()
                    .map(check_mask)
                    .collect::<Result<_>>()?,
            )
        } else {
            None
        };
        Ok(Self {
            n_cells,
            n_genes,
            gene_ids,
            values,
            masked,
        })
    }

    fn cells(&self) -> Vec<CellInput<'_>> {
        let cell = |i: usize| {
            let genes = i * self.n_genes..(i + 1) * self.n_genes;
            CellInput {
                gene_ids: &self.gene_ids[genes.clone()],
                values: &self.values[genes.clone()],
                masked: self.masked.as_ref().map(|masked| &masked[genes]),
                attended: None,
            }
        };
        (0..self.n_cells).map(cell).collect()
    }
}

/// Names and shapes of what is written, in the order of [`write`].
fn shapes(config: &Config, batch: &Batch, attention: bool) -> Vec<(&'static str, Vec<usize>)> {
    let (b, l, d) = (batch.n_cells, batch.n_genes, config.hidden_size);
    let mut shapes = vec![
        ("latent", vec![b, d]),
        ("hidden", vec![b, l, d]),
        ("gene_logits", vec![b, l, config.vocab_size]),
        ("values", vec![b, l]),
    ];
    if attention {
        shapes.push(("attention", vec![b, config.num_layers, config.num_heads, l + 1, l + 1]));
    }
    shapes
}

fn write(writer: &mut SafetensorsWriter<OutputFile>, answer: &Output) -> io::Result<()> {
    writer.write(0, &answer.latent)?;
    for (tensor, cells) in [
        (1, &answer.hidden),
        (2, &answer.gene_logits),
        (3, &answer.values),
        (4, &answer.attention),
    ] {
        for cell in cells {
            writer.write(tensor, cell)?;
        }
    }
    Ok(())
}
