//! rten: `peer-rten FOLDER CASE`.

use peer_common::{Case, Failure, Options, Peer, report};
use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use std::sync::Arc;

fn main() -> Result<(), Failure> {
    let options = Options::from_arguments()?;
    let case = Case::read(&options.folder, &options.case)?;
    let shape = [case.lengths.len(), case.width];
    let gene_ids = NdTensor::from_data(shape, case.gene_ids.clone());
    let values = NdTensor::from_data(shape, case.values.clone());
    let attended = NdTensor::from_data(shape, case.attended());
    report(&case, options.seconds, || {
        let name = if case.is_masked() { "model_masked.onnx" } else { "model.onnx" };
        let model = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load_file(options.folder.join(name))?;
        let peer = Peer {
            name: "rten".to_owned(),
            version: "0.27.0".to_owned(),
            device: "cpu".to_owned(),
            threads: options.threads,
        };
        let pool = Arc::new(ThreadPool::with_num_threads(options.threads));
        let is_masked = case.is_masked();
        let (gene_ids, values, attended) = (gene_ids.view(), values.view(), attended.view());
        let run = move || {
            let mut inputs = vec![
                (model.node_id("gene_ids")?, gene_ids.into()),
                (model.node_id("values")?, values.into()),
            ];
            if is_masked {
                inputs.push((model.node_id("attended")?, attended.into()));
            }
            let settings = RunOptions::default().with_thread_pool(Some(pool.clone()));
            let [embedding] = model.run_n(inputs, [model.node_id("embedding")?], Some(settings))?;
            let embedding: NdTensor<f32, 2> = embedding.try_into()?;
            Ok(embedding.to_vec())
        };
        Ok((peer, run))
    })
}
