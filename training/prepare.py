"""`prepare`: read the training files, choose the vocabulary, count the entropies, store the sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from .cells import CountSet, normalised, read_counts
from .config import Config, SetConfig
from .genes import GeneTable, Vocabulary, read_hgnc


def prepare(config: Config, data: Path, run: Path) -> None:
    """Write `run/vocab.tsv`, `run/variability.npy` and `run/sets/*.npz`."""
    hgnc, wanted = read_hgnc(data / "vocab" / "hgnc_complete_set.txt.gz", config.vocabulary.locus_types)
    labels = [label.name for label in config.labels]
    whole: list[CountSet] = []
    for entry in config.sets:
        annotated, counts, elsewhere = read_counts(data / "train" / entry.file, hgnc)
        keep = np.ones(counts.shape[0], dtype=bool)
        if entry.exclude_column:
            keep = ~annotated.obs[entry.exclude_column].to_numpy(dtype=bool)
        allowed = _allowed(entry, annotated.obs, labels)
        whole.append(CountSet(Path(entry.file).stem, counts[keep], elsewhere[keep], allowed[keep]))
        print(f"{entry.file}: {keep.sum()} cells, {allowed[keep].any(1).sum()} labelled, {(counts.getnnz(0) > 0).sum()} genes")

    chosen = _choose(config, hgnc, wanted, whole)
    (run / "sets").mkdir(parents=True, exist_ok=True)
    sets = []
    for full in whole:
        counts = full.counts[:, chosen].tocsr()
        outside = np.asarray(full.counts.sum(1)).ravel() - np.asarray(counts.sum(1)).ravel()
        counts.sort_indices()
        part = CountSet(full.name, counts, full.elsewhere + outside, full.allowed)
        part.save(run / "sets" / f"{full.name}.npz")
        sets.append(part)

    vocabulary = Vocabulary(
        symbols=[hgnc.symbols[i] for i in chosen],
        ensembl_ids=[hgnc.ensembl_ids[i] for i in chosen],
        aliases=[hgnc.aliases[i] for i in chosen],
        entropies=entropies(sets, config.model.target_sum),
    )
    vocabulary.write(run / "vocab.tsv")
    np.save(run / "variability.npy", variability(sets, config.model.target_sum))
    n_cells = sum(part.counts.shape[0] for part in sets)
    print(f"{len(chosen)} genes of {n_cells} cells; median genes a cell by set:")
    for part in sets:
        print(f"  {part.name}: {np.median(np.diff(part.counts.indptr)):.0f}")


def _allowed(entry: SetConfig, obs, labels: list[str]) -> np.ndarray:
    allowed = np.zeros((len(obs), len(labels)), dtype=bool)
    if entry.label_column:
        native = obs[entry.label_column].astype(str).to_numpy()
        for name, names in entry.labels.items():
            rows = native == name
            if not rows.any():
                raise ValueError(f"{entry.file}: no cell has {name!r} in {entry.label_column}")
            allowed[np.ix_(rows, [labels.index(label) for label in names])] = True
    return allowed


def _choose(config: Config, hgnc: GeneTable, wanted: np.ndarray, sets: list[CountSet]) -> np.ndarray:
    """The vocabulary's HGNC indices, in the order of their symbols: what varies most in any one set.

    Variance, not detection: PPBP is seen in one cell of a hundred and is what makes it a platelet. The best set, not the
    mean: a gene of one type of one tissue is worth more to annotation than a gene of middling interest everywhere.
    """
    detected = np.stack([part.counts.getnnz(0) for part in sets])  # [n_sets, n_genes]
    limits = config.vocabulary
    usable = wanted & ((detected > 0).sum(0) >= limits.min_sets) & (detected.sum(0) >= limits.min_cells)
    best = np.full(len(hgnc.symbols), np.inf)
    for part in sets:
        _, variance = _moments(normalised(part, config.model.target_sum))
        best = np.minimum(best, np.argsort(np.argsort(-variance, kind="stable"), kind="stable"))
    lineage = np.isin(hgnc.symbols, limits.lineage_genes) & (detected.sum(0) > 0)
    usable |= lineage
    best[~usable] = np.inf
    best[lineage] = -1.0
    order = np.argsort(best, kind="stable")[: limits.n_genes]
    order = order[usable[order]]
    return order[np.argsort([hgnc.symbols[i] for i in order])]


def _moments(matrix: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each column."""
    mean = np.asarray(matrix.mean(0)).ravel()
    square = matrix.copy()
    square.data **= 2
    return mean, np.asarray(square.mean(0)).ravel() - mean**2


def entropies(sets: list[CountSet], target_sum: float) -> np.ndarray:
    """Shannon entropy of each gene's log1p values over all cells, divided by the log of their number: 0 to 1."""
    matrix = sp.vstack([normalised(part, target_sum) for part in sets]).tocsc().astype(np.float64)
    share = matrix @ sp.diags(1.0 / np.maximum(np.asarray(matrix.sum(0)).ravel(), 1e-12))
    share = share.tocsc()
    share.data = -share.data * np.log(np.maximum(share.data, 1e-300))
    return np.clip(np.asarray(share.sum(0)).ravel() / np.log(matrix.shape[0]), 0.0, 1.0)


def variability(sets: list[CountSet], target_sum: float) -> np.ndarray:
    """How much more each gene varies than genes of the same mean, in standard deviations; the most over the sets."""
    best = np.full(sets[0].counts.shape[1], -1.0)
    for part in sets:
        mean, variance = _moments(normalised(part, target_sum))
        seen = np.flatnonzero(mean > 0.005)
        dispersion = np.log(np.maximum(variance[seen], 1e-12) / mean[seen])
        for bin_genes in np.array_split(seen[np.argsort(mean[seen])], 20):
            if len(bin_genes) > 5:
                inside = dispersion[np.searchsorted(seen, bin_genes)]
                score = (inside - np.median(inside)) / (inside.std() + 1e-6)
                best[bin_genes] = np.maximum(best[bin_genes], score)
    return best
