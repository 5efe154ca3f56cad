"""Batches of the same cell lines: how well types stay apart and batches come together, by scib's measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from .cells import Tokenizer, read_counts
from .config import Config
from .export import load
from .folds import embed
from .genes import read_vocabulary
from .yardsticks import log_normalised

FILE = "celllines_scmixology_5batch.h5ad"


def integration_table(config: Config, data: Path, folder: Path) -> str:
    """Avg-Bio and Avg-Batch as scGPT reports them.

    They are the means of NMI, ARI and the silhouette of types, and of the silhouette of batches and graph connectivity.
    """
    vocabulary = read_vocabulary(folder / "vocab.tsv")
    model, _ = load(config, folder)
    annotated, counts, elsewhere = read_counts(data / "train" / FILE, vocabulary)
    keep = (annotated.obs["doublet_call"] == "SNG").to_numpy()
    labels = annotated.obs["cell_type"].astype(str).to_numpy()[keep]
    batches = annotated.obs["batch"].astype(str).to_numpy()[keep]
    cells = Tokenizer(vocabulary, config.model).rows(counts, elsewhere, np.flatnonzero(keep))
    dense = log_normalised(counts[keep]).toarray()
    genes = np.argsort(-dense.var(0), kind="stable")[:2000]
    embeddings = {
        "scDiVa mini, cell embedding": embed(model, cells, "latent"),
        "scDiVa mini, what the head reads": embed(model, cells, config.pooling),
        "PCA (50 of 2,000 genes)": PCA(50, random_state=0).fit_transform(dense[:, genes]),
    }
    lines = [
        "### Integration",
        "",
        f"Five cell lines in five batches (`{Path(FILE).stem}`, {keep.sum():,} single cells; its cells were in the pretraining,"
        " without labels; no batch correction), scib-metrics.",
        "",
        "| embedding | NMI | ARI | silhouette of types | Avg-Bio | silhouette of batches | graph connectivity | Avg-Batch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, values in embeddings.items():
        bio, batch = _measures(values.astype(np.float32), labels, batches)
        shown = [*bio, np.mean(bio), *batch, np.mean(batch)]
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in shown) + " |")
    return "\n".join(lines)


def _measures(values: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> tuple[list[float], list[float]]:
    # Imported here: only this table needs them, and they bring JAX.
    from scib_metrics import (
        graph_connectivity,
        nmi_ari_cluster_labels_kmeans,
        silhouette_batch,
        silhouette_label,
    )
    from scib_metrics.nearest_neighbors import pynndescent

    clusters = nmi_ari_cluster_labels_kmeans(values, labels)
    graph = pynndescent(values, n_neighbors=15, random_state=0)
    bio = [clusters["nmi"], clusters["ari"], silhouette_label(values, labels)]
    batch = [silhouette_batch(values, labels, batches), graph_connectivity(graph, labels)]
    return [float(x) for x in bio], [float(x) for x in batch]
