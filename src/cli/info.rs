//! `scdiva info`.

use super::Outcome;
use super::heads;
use super::session::{DeviceArgs, Session, describe, io_error};
use clap::Args;
use scdiva::Result;
use scdiva::model::Head;
use std::io::{self, Write};
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct Info {
    /// Write it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Info {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let (scdiva, files) = (session.open(&self.device).await?, session.model_files()?);
        let mut info = scdiva.info();
        info.model.own_heads = heads::saved(&files)?;
        let out = io::stdout().lock();
        let written = if self.json {
            serde_json::to_writer_pretty(out, &info)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(io::stdout()))
        } else {
            let describe = |name: &String| match heads::head(&scdiva, &files, Some(name)) {
                Ok(head) => describe_head(&head),
                // What cannot be used is said, and hinders nothing else.
                Err(error) => error.to_string(),
            };
            write(out, &info, &describe)
        };
        written.map_err(io_error(Path::new("stdout")))?;
        Ok(Outcome::Done)
    }
}

/// What a head says about itself.
fn describe_head(head: &Head) -> String {
    let mut text = format!("{} labels", head.labels.len());
    if head.min_probability > 0.0 {
        text.push_str(&format!(", threshold {}", head.min_probability));
    }
    if !head.tissues.is_empty() {
        let tissues: Vec<&str> = head.tissues.iter().map(|tissue| tissue.name.as_str()).collect();
        text.push_str(&format!(", tissues {}", tissues.join(", ")));
    }
    if let Some(reference) = &head.reference {
        text.push_str(&format!("; fitted on {reference}"));
    }
    text
}

fn write(mut out: impl Write, info: &scdiva::Info, describe_head: &dyn Fn(&String) -> String) -> io::Result<()> {
    writeln!(out, "scdiva {}", info.version)?;
    writeln!(out, "device: {}", describe(&info.device))?;
    if let Some(gpu) = &info.device.gpu {
        writeln!(
            out,
            "  adapter: {}, {}{}",
            gpu.adapter,
            gpu.device_type,
            if gpu.software { ", software" } else { "" }
        )?;
        writeln!(out, "  backend: {}", gpu.backend)?;
        writeln!(out, "  driver: {}", gpu.driver)?;
        let features = if gpu.features.is_empty() {
            "none".to_owned()
        } else {
            gpu.features.join(", ")
        };
        writeln!(out, "  features in use: {features}")?;
        if gpu.matrix_side > 0 {
            writeln!(out, "  matrix units in use: squares of {0} x {0} in f16", gpu.matrix_side)?;
        }
        let mib = |bytes: u64| bytes / (1 << 20);
        let (binding, buffer) = (mib(gpu.max_binding_size), mib(gpu.max_buffer_size));
        writeln!(
            out,
            "  limits in use: {binding} MiB a binding, {buffer} MiB a buffer, {} KiB a workgroup",
            gpu.workgroup_memory / 1024
        )?;
    }
    let (model, config) = (&info.model, &info.model.config);
    writeln!(out, "model: {}, {} parameters", config.name, model.n_parameters)?;
    let sizes = (
        config.num_layers,
        config.hidden_size,
        config.num_heads,
        config.intermediate_size,
    );
    writeln!(
        out,
        "  {} layers of width {}, {} heads, {} inside",
        sizes.0, sizes.1, sizes.2, sizes.3
    )?;
    match model.n_genes {
        Some(n_genes) => writeln!(out, "  {n_genes} genes, up to {} a cell", config.max_genes)?,
        None => writeln!(
            out,
            "  no vocab.tsv: matrices cannot be read; up to {} genes a cell",
            config.max_genes
        )?,
    }
    let heads = if model.heads.is_empty() {
        "none".to_owned()
    } else {
        model.heads.join(", ")
    };
    writeln!(out, "  heads: {heads}")?;
    for name in &model.heads {
        writeln!(out, "    {name}: {}", describe_head(name))?;
    }
    if !model.own_heads.is_empty() {
        writeln!(out, "  saved heads: {}", model.own_heads.join(", "))?;
    }
    for name in &model.own_heads {
        writeln!(out, "    {name}: {}", describe_head(name))?;
    }
    Ok(())
}
