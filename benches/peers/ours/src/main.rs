//! scdiva itself: `peer-ours FOLDER CASE [--device cpu|gpu] [--precision f32|f16] [--rows latent|all]`. `all`: the last layer computes every row,
//! as the peers do, though only [LAT] is asked for.

use peer_common::{Case, Failure, Options, Peer, report};
use scdiva::gpu::Precision;
use scdiva::model::{CellInput, Want};
use scdiva::{DeviceChoice, DeviceOptions, ModelFiles, ScDiVa};

fn main() -> Result<(), Failure> {
    let options = Options::from_arguments()?;
    let case = Case::read(&options.folder, &options.case)?;
    let device: DeviceChoice = options.get("device").unwrap_or("cpu").parse()?;
    let precision: Precision = options.get("precision").unwrap_or("f32").parse()?;
    let all_rows = options.get("rows") == Some("all");
    rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global()?;
    let gene_ids: Vec<u32> = case.gene_ids.iter().map(|id| id.unsigned_abs()).collect();
    report(&case, options.seconds, || {
        let files = ModelFiles::from_folder(&options.folder)?;
        let options_of_device = DeviceOptions {
            precision,
            ..device.into()
        };
        let mut scdiva = pollster::block_on(ScDiVa::open(files, options_of_device))?;
        let info = scdiva.info();
        let peer = Peer {
            name: if all_rows { "ours, all rows" } else { "ours" }.to_owned(),
            version: info.version.to_owned(),
            device: info.device.name,
            threads: options.threads,
        };
        let cells: Vec<CellInput<'_>> = (case.lengths.iter().enumerate())
            .map(|(i, n_genes)| {
                let genes = i * case.width..i * case.width + n_genes;
                CellInput {
                    gene_ids: &gene_ids[genes.clone()],
                    values: &case.values[genes],
                    ..CellInput::default()
                }
            })
            .collect();
        let want = Want {
            mean: all_rows,
            ..Want::default()
        };
        Ok((peer, move || Ok(pollster::block_on(scdiva.forward(&cells, want))?.latent)))
    })
}
