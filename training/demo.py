"""`demo`: a small matrix simulated from the mean profiles of blood types. No cell in it was ever measured."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from .config import Config

SOURCE = "pbmc3k.h5ad"
N_GENES = 4_000
N_CELLS = {"B": 30, "CD4 T": 55, "CD8 T": 35, "NK": 30, "CD14 Mono": 40, "CD16 Mono": 25, "DC": 15, "Platelet": 10}
DEPTH = 0.55  # of the measured cells: keeps the file small
DISPERSION = 0.15  # variance of a cell's rate around its type's mean, in squares of the mean


def simulate(config: Config, data: Path, folder: Path) -> None:
    """Write `pbmc_simulated.h5ad`: negative-binomial counts, seeded."""
    entry = next(entry for entry in config.sets if entry.file == SOURCE)
    measured = anndata.read_h5ad(data / "train" / SOURCE)
    native = measured.obs[entry.label_column].astype(str)
    kind = native.map(lambda name: entry.labels[name][0]).to_numpy()
    counts = sp.csr_matrix(measured.X)
    mean = np.asarray(counts.mean(0)).ravel()
    genes = np.sort(np.argsort(-mean, kind="stable")[:N_GENES])

    random = np.random.default_rng(config.seed)
    blocks, types = [], []
    for name, n_cells in N_CELLS.items():
        rows = np.flatnonzero(kind == name)
        total = np.asarray(counts[rows].sum(1)).ravel()
        profile = np.asarray(counts[rows].sum(0)).ravel()[genes] / total.sum()
        depth = random.choice(total, n_cells)[:, None] * DEPTH
        rate = profile * depth * random.gamma(1.0 / DISPERSION, DISPERSION, (n_cells, len(genes)))
        blocks.append(random.poisson(rate).astype(np.float32))
        types += [name] * n_cells

    order = random.permutation(len(types))
    matrix = sp.csr_matrix(np.concatenate(blocks)[order])
    result = anndata.AnnData(
        X=matrix,
        obs=pd.DataFrame(
            {"simulated_from": pd.Categorical([types[i] for i in order])},
            index=[f"cell_{i + 1:04d}" for i in range(len(types))],
        ),
        var=pd.DataFrame(index=list(measured.var_names[genes])),
    )
    result.uns["description"] = (
        "Simulated, not measured: negative-binomial counts around the mean profiles of the blood cell types of "
        "10x Genomics PBMC 3k (CC BY 4.0), seeded. For trying the software only."
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pbmc_simulated.h5ad"
    result.write_h5ad(path, compression="gzip", compression_opts=9)
    per_cell = np.median(np.diff(matrix.indptr))
    print(f"{path}: {matrix.shape[0]} x {matrix.shape[1]}, median {per_cell:.0f} genes a cell, {path.stat().st_size} bytes")
