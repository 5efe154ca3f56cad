"""What a lab would use instead, on the same cells: methods that are fitted anew on the genes that a study shares with them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

from .cells import read_counts
from .config import Config
from .genes import GeneTable

TARGET_SUM = 1e4


class Reference:
    """Labelled counts over all HGNC genes, set by set. Shapes: counts CSR [n_cells, n_genes], labels [n_cells]."""

    def __init__(self, config: Config, data: Path, hgnc: GeneTable) -> None:
        self.sets: dict[str, tuple[sp.csr_matrix, np.ndarray]] = {}
        for entry in config.sets:
            if entry.votes:
                annotated, counts, _ = read_counts(data / "train" / entry.file, hgnc)
                keep = np.ones(len(annotated), dtype=bool)
                if entry.exclude_column:
                    keep = ~annotated.obs[entry.exclude_column].to_numpy(dtype=bool)
                native = annotated.obs[entry.label_column].astype(str)
                labels = np.array([entry.labels[name][0] for name in native])
                self.sets[entry.file] = counts[keep], labels[keep]

    def shared_with(self, counts: sp.csr_matrix, files: list[str]) -> tuple[sp.csr_matrix, np.ndarray, sp.csr_matrix]:
        """Reference, its labels, query; both log-normalised over the genes that all have, [n_cells, n_shared_genes]."""
        parts = [self.sets[file] for file in files]
        shared = np.logical_and.reduce([matrix.getnnz(0) > 0 for matrix in (counts, *(part for part, _ in parts))])
        reference = sp.vstack([log_normalised(part[:, shared]) for part, _ in parts]).tocsr()
        return reference, np.concatenate([labels for _, labels in parts]), log_normalised(counts[:, shared])


def log_normalised(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """log1p of counts per 10,000."""
    total = np.maximum(np.asarray(matrix.sum(1)).ravel(), 1.0)
    scaled = (sp.diags(TARGET_SUM / total) @ matrix).tocsr()
    scaled.data = np.log1p(scaled.data)
    return scaled


def logistic_regression(reference: sp.csr_matrix, labels: np.ndarray, query: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """What CellTypist is, with balanced classes and C = 0.05. Labels and their probabilities."""
    model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=300)
    probability = model.fit(reference, labels).predict_proba(query)
    return model.classes_[probability.argmax(1)], probability.max(1)


def spearman_centroid(reference: sp.csr_matrix, labels: np.ndarray, query: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """What SingleR is without its fine-tuning: rank correlation with the mean of each type, over the 60 genes by which the means
    of each two types differ most. Labels and correlations."""
    types = np.unique(labels)
    means = np.stack([np.asarray(reference[labels == name].mean(0)).ravel() for name in types])
    pairs = itertools.permutations(means, 2)
    genes = sorted({gene for one, other in pairs for gene in np.argsort(one - other, kind="stable")[-60:]})
    mine = _standard_ranks(query[:, genes].toarray())
    correlation = mine @ _standard_ranks(means[:, genes]).T
    return types[correlation.argmax(1)], correlation.max(1)


def _standard_ranks(rows: np.ndarray) -> np.ndarray:
    ranks = rankdata(rows, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    return ranks / (np.linalg.norm(ranks, axis=1, keepdims=True) + 1e-12)


def pca_neighbours(reference: sp.csr_matrix, labels: np.ndarray, query: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """15 nearest neighbours in 50 principal components of the 2,000 genes of most variance. Labels and shares of neighbours."""
    dense = reference.toarray()
    genes = np.argsort(-dense.var(0), kind="stable")[:2000]
    mean, spread = dense[:, genes].mean(0), dense[:, genes].std(0) + 0.1
    pca = PCA(min(50, len(genes) - 1), random_state=0).fit((dense[:, genes] - mean) / spread)
    model = KNeighborsClassifier(15).fit(pca.transform((dense[:, genes] - mean) / spread), labels)
    share = model.predict_proba(pca.transform((query[:, genes].toarray() - mean) / spread))
    return model.classes_[share.argmax(1)], share.max(1)


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Over the types that occur in `truth`."""
    return f1_score(truth, predicted, labels=sorted(set(truth)), average="macro", zero_division=0)


METHODS = {
    "logistic regression": logistic_regression,
    "Spearman centroid": spearman_centroid,
    "PCA + 15 neighbours": pca_neighbours,
}
