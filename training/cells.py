"""Cells: reading count matrices, augmenting their counts, and turning a cell into tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp

from .config import AugmentConfig, CheckConfig, ModelConfig
from .genes import GeneTable, Vocabulary
from .model import FIRST_GENE, PAD


@dataclass
class CountSet:
    """The cells of one file over the genes of a table.

    Shapes: `counts` CSR [n_cells, n_genes]; `elsewhere` [n_cells], the counts of a cell on genes outside the table, which
    take part in its total; `allowed` bool [n_cells, n_labels], the labels that a cell may have (none: unlabelled).
    """

    name: str
    counts: sp.csr_matrix
    elsewhere: np.ndarray
    allowed: np.ndarray

    def save(self, path: Path) -> None:
        """Write as .npz."""
        matrix = self.counts
        np.savez(
            path,
            data=matrix.data,
            indices=matrix.indices,
            indptr=matrix.indptr,
            shape=np.array(matrix.shape),
            elsewhere=self.elsewhere,
            allowed=self.allowed,
        )

    @staticmethod
    def load(path: Path) -> CountSet:
        """Read what `save` wrote."""
        with np.load(path) as file:
            matrix = sp.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))
            return CountSet(path.stem, matrix, file["elsewhere"], file["allowed"])


def normalised(part: CountSet, target_sum: float) -> sp.csr_matrix:
    """log1p of the counts scaled to `target_sum` a cell, the counts elsewhere included in what is scaled."""
    total = np.asarray(part.counts.sum(1)).ravel() + part.elsewhere
    matrix = (sp.diags(target_sum / np.maximum(total, 1.0)) @ part.counts).tocsr()
    matrix.data = np.log1p(matrix.data)
    return matrix


def read_counts(path: Path, table: GeneTable) -> tuple[anndata.AnnData, sp.csr_matrix, np.ndarray]:
    """A file, its counts over the genes of `table` (several columns of one gene summed), and the counts elsewhere."""
    data = anndata.read_h5ad(path)
    matrix = sp.csr_matrix(data.X, dtype=np.float32)
    column = table.match(list(data.var_names), list(data.var["ensembl_id"].astype(str)))
    known = column >= 0
    onto = sp.csr_matrix(
        (np.ones(known.sum(), dtype=np.float32), (np.flatnonzero(known), column[known])),
        shape=(matrix.shape[1], len(table.symbols)),
    )
    counts = (matrix @ onto).tocsr()
    counts.sort_indices()
    elsewhere = np.asarray(matrix[:, ~known].sum(axis=1)).ravel()
    return data, counts, elsewhere


def read_check(data: Path, check: CheckConfig, table: GeneTable) -> tuple[np.ndarray, sp.csr_matrix, np.ndarray]:
    """Harmonised labels, counts and counts elsewhere of the cells that count: labelled, and not in a training set."""
    annotated, counts, elsewhere = read_counts(data / "check" / check.file, table)
    truth = annotated.obs["cell_type"].astype(str).map(check.labels)
    keep = truth.notna().to_numpy()
    for column in check.exclude_columns:
        keep &= ~annotated.obs[column].to_numpy(dtype=bool)
    return truth[keep].to_numpy(dtype=str), counts[keep], elsewhere[keep]


class Tokenizer:
    """Counts of a cell -> its tokens, the most specific genes first."""

    def __init__(self, vocabulary: Vocabulary, config: ModelConfig, max_genes: int | None = None) -> None:
        self.weight = (1.0 / (vocabulary.entropies + 1e-3)).astype(np.float64)
        self.max_genes = config.max_genes if max_genes is None else max_genes
        self.target_sum = config.target_sum

    def tokens(self, genes: np.ndarray, counts: np.ndarray, total: float) -> tuple[np.ndarray, np.ndarray]:
        """Ids and log1p values of a cell's genes (indices, counts > 0), best score first, ties by lower id."""
        values = np.log1p(counts * (self.target_sum / total))
        order = np.lexsort((genes, -values * self.weight[genes]))[: self.max_genes]
        return genes[order] + FIRST_GENE, values[order].astype(np.float32)

    def rows(self, counts: sp.csr_matrix, elsewhere: np.ndarray, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Tokens of some rows of a matrix over the vocabulary's genes; `elsewhere`: a cell's counts on other genes."""
        cells = []
        for row in rows:
            span = slice(counts.indptr[row], counts.indptr[row + 1])
            total = counts.data[span].sum() + elsewhere[row]
            cells.append(self.tokens(counts.indices[span], counts.data[span], max(float(total), 1.0)))
        return cells


def pad(cells: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, values and attended positions, each [n_cells, longest]."""
    longest = max(1, max(len(ids) for ids, _ in cells))
    ids = np.full((len(cells), longest), PAD, dtype=np.int64)
    values = np.zeros((len(cells), longest), dtype=np.float32)
    for i, (cell_ids, cell_values) in enumerate(cells):
        ids[i, : len(cell_ids)] = cell_ids
        values[i, : len(cell_ids)] = cell_values
    return ids, values, ids != PAD


class Augmenter:
    """Makes of a well-measured cell what a shallow run, another protocol or a gene panel would have seen of it.

    How well each gene is seen first (platforms differ by it; on check sets this was worth 0.015 of macro-F1), then which genes
    there are (all, a random part, or a panel of the variable genes as published subsets are), then depth (binomial thinning),
    then a small error of the scale, which stands for the unknown counts of genes that a file left out.
    """

    def __init__(
        self, config: AugmentConfig, variability: np.ndarray, gene_efficiency: float = 0.0, wild_efficiency: float = 0.0
    ) -> None:
        self.config = config
        self.variability = variability  # [n_genes]: z-score of the dispersion among genes of the same mean
        self.gene_efficiency = gene_efficiency  # largest sd of the log of a gene's efficiency
        self.wild_efficiency = wild_efficiency  # the same of every second cell, on top

    def draw(
        self, genes: np.ndarray, counts: np.ndarray, elsewhere: float, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Genes, counts and total of a changed copy of a cell."""
        config = self.config
        n_genes = len(self.variability)
        for largest, probability in ((self.gene_efficiency, 1.0), (self.wild_efficiency, 0.5)):
            if largest > 0.0 and random.random() < probability:
                spread = largest * random.random()
                counts = counts * np.exp(random.normal(0.0, spread, len(counts))).astype(np.float32)
        choice = random.random()
        if choice < config.panel_probability:
            size = int(np.exp(random.uniform(np.log(config.panel_smallest), np.log(n_genes))))
            rank = self.variability + random.normal(0.0, 0.7, n_genes)
            keep = rank[genes] >= np.partition(rank, n_genes - size)[n_genes - size]
            genes, counts, elsewhere = genes[keep], counts[keep], elsewhere * random.uniform(0.0, size / n_genes)
        elif choice < config.panel_probability + config.subset_probability:
            share = np.exp(random.uniform(np.log(config.subset_smallest), 0.0))
            keep = random.random(len(genes)) < share
            genes, counts, elsewhere = genes[keep], counts[keep], elsewhere * share

        total = counts.sum() + elsewhere
        if random.random() < config.thin_probability and total > config.thin_smallest_depth:
            rate = np.exp(random.uniform(np.log(config.thin_smallest_depth / total), 0.0))
            # Files with fractional counts are rare; a fraction is one more count with that probability.
            whole = np.floor(counts + random.random(len(counts))).astype(np.int64)
            counts = random.binomial(whole, rate).astype(np.float32)
            keep = counts > 0
            genes, counts, elsewhere = genes[keep], counts[keep], elsewhere * rate
        total = (counts.sum() + elsewhere) * np.exp(random.normal(0.0, config.value_jitter))
        return genes, counts, max(float(total), 1.0)
