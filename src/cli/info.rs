//! `scdiva info`.

use super::Outcome;
use super::heads;
use super::session::{Session, describe, io_error};
use clap::Args;
use scdiva::Result;
use std::io::{self, Write};
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct Info {
    /// Write it as JSON
    #[arg(long)]
    json: bool,
}

impl Info {
    pub(super) async fn run(self, session: &Session) -> Result<Outcome> {
        let mut info = session.open().await?.info();
        info.model.own_heads = heads::saved(&session.model_files()?)?;
        let out = io::stdout().lock();
        let written = if self.json {
            serde_json::to_writer_pretty(out, &info)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(io::stdout()))
        } else {
            write(out, &info)
        };
        written.map_err(io_error(Path::new("stdout")))?;
        Ok(Outcome::Done)
    }
}

fn write(mut out: impl Write, info: &scdiva::Info) -> io::Result<()> {
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
        let mib = |bytes: u64| bytes / (1 << 20);
        let (binding, buffer) = (mib(gpu.max_binding_size), mib(gpu.max_buffer_size));
        writeln!(out, "  limits in use: {binding} MiB a binding, {buffer} MiB a buffer")?;
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
    match model.own_heads.as_slice() {
        [] => Ok(()),
        saved => writeln!(out, "  saved heads: {}", saved.join(", ")),
    }
}
