"""The teacher: regressions on whole cells, whose answers the network learns to give of any part of a cell.

A linear model over a cell's token values (their roots, scaled to one length) answers other laboratories' cells as well as
networks do that learn from labels alone. Its logits say of each cell how much every label is meant, where a label says one thing
of all cells of its kind. Three are fitted and averaged: on cells as they were measured, on augmented copies, and on both with the
cells of labelled blood counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from .cells import CountSet, Tokenizer
from .config import Config
from .genes import Vocabulary
from .model import FIRST_GENE, N_CLOSING
from .optimise import Batches

SCALE = 40.0  # length of a cell's features, so that weights are of order 1


@dataclass
class Teacher:
    """Shapes: weight [V, n_labels], zero for ids that are no gene; bias [n_labels]."""

    weight: Tensor
    bias: Tensor

    @torch.no_grad()
    def logits(self, ids: Tensor, values: Tensor, attended: Tensor) -> Tensor:
        """Logits [B, n_labels] of cells as tokens, each [B, L]."""
        amounts = values.sqrt() * attended
        length = amounts.square().sum(1, keepdim=True).clamp(min=1e-9).sqrt()
        return F.embedding_bag(ids, self.weight, mode="sum", per_sample_weights=amounts) / length * SCALE + self.bias

    def plant(self, embedding: Tensor, strength: float) -> None:
        """Write the weights into the first columns of a gene embedding [V, D], at `strength` times its spread.

        The mean of a cell's tokens then holds what the teacher says of it, in a form that the network has only to pass on: what
        takes 5,000 steps to learn takes 1,000.
        """
        genes = slice(FIRST_GENE, -N_CLOSING)
        weight = self.weight - self.weight.mean(1, keepdim=True)
        columns = min(weight.shape[1], embedding.shape[1])
        embedding[genes, :columns] = weight[genes, :columns] * (strength * embedding[genes].std() / weight[genes].std())


@dataclass
class _Part:
    """Cells to learn from. Shapes: features CSR [n_cells, n_genes]; allowed [n_cells, n_labels]; weight [n_cells], of sum 1."""

    features: sp.csr_matrix
    allowed: np.ndarray
    weight: np.ndarray


def fit_teacher(config: Config, sets: list[CountSet], batches: Batches, vocabulary: Vocabulary) -> Teacher:
    """Fit on the labelled cells of `sets`; augmented copies are drawn by `batches`."""
    n_genes, tokenizer = len(vocabulary.symbols), batches.tokenizer
    labelled = [np.flatnonzero(part.allowed.any(1)) for part in sets]
    measured = _measured(config, sets, labelled, tokenizer, n_genes)
    of_blood = [rows if entry.votes or entry.vote else rows[:0] for rows, entry in zip(labelled, config.sets, strict=True)]
    blood = [_measured(config, sets, of_blood, tokenizer, n_genes)] if any(len(rows) for rows in of_blood) else []
    cells, allowed = batches.draw(config.teacher.augmented_cells, np.random.default_rng([config.seed, 6]))
    augmented = _Part(_features(cells, n_genes), np.stack(allowed), np.full(len(cells), 1.0 / len(cells)))
    fits = [_fit(config, parts) for parts in ([measured], [augmented], [measured, *blood, augmented])]
    weight = sum(weight for weight, _ in fits) / len(fits)
    weight = torch.cat([weight.new_zeros(FIRST_GENE, weight.shape[1]), weight, weight.new_zeros(N_CLOSING, weight.shape[1])])
    return Teacher(weight, sum(bias for _, bias in fits) / len(fits))


def _measured(config: Config, sets: list[CountSet], rows: list[np.ndarray], tokenizer: Tokenizer, n_genes: int) -> _Part:
    cells, allowed = [], []
    for part, mine in zip(sets, rows, strict=True):
        cells += tokenizer.rows(part.counts, part.elsewhere, mine)
        allowed.append(part.allowed[mine])
    together = np.concatenate(allowed)
    _, kind, size = np.unique(together, axis=0, return_inverse=True, return_counts=True)
    weight = size[kind.ravel()].astype(float) ** -config.warm.class_balance
    return _Part(_features(cells, n_genes), together, weight / weight.sum())


def _features(cells: list[tuple[np.ndarray, np.ndarray]], n_genes: int) -> sp.csr_matrix:
    genes = np.concatenate([ids - FIRST_GENE for ids, _ in cells])
    amounts = np.sqrt(np.concatenate([values for _, values in cells]))
    start = np.r_[0, np.cumsum([len(ids) for ids, _ in cells])]
    matrix = sp.csr_matrix((amounts, genes, start), shape=(len(cells), n_genes), dtype=np.float32)
    length = np.sqrt(np.maximum(np.asarray(matrix.multiply(matrix).sum(1)).ravel(), 1e-9))
    return (sp.diags((SCALE / length).astype(np.float32)) @ matrix).tocsr()


def _fit(config: Config, parts: list[_Part]) -> tuple[Tensor, Tensor]:
    """Multinomial regression with an L2 penalty; several allowed labels of a cell are to have the probability together."""
    matrix = sp.vstack([part.features for part in parts]).tocsr()
    features, transposed = _tensor(matrix), _tensor(matrix.T.tocsr())
    allowed = torch.from_numpy(np.concatenate([part.allowed for part in parts]))
    share = torch.from_numpy(np.concatenate([part.weight for part in parts]) / len(parts)).float()
    weight = torch.zeros(matrix.shape[1], allowed.shape[1], requires_grad=True)
    bias = torch.zeros(allowed.shape[1], requires_grad=True)

    class Product(torch.autograd.Function):
        """`features @ weight`, with the gradient that sparse tensors lack."""

        @staticmethod
        def forward(_, weight: Tensor) -> Tensor:
            return features @ weight

        @staticmethod
        def backward(_, gradient: Tensor) -> Tensor:
            return transposed @ gradient

    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=config.teacher.iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = Product.apply(weight) + bias
        of_allowed = logits.masked_fill(~allowed, float("-inf")).logsumexp(1)
        value = ((logits.logsumexp(1) - of_allowed) * share).sum() + weight.square().sum() / (2 * config.teacher.c)
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def _tensor(matrix: sp.csr_matrix) -> Tensor:
    parts = (torch.from_numpy(matrix.indptr.astype(np.int64)), torch.from_numpy(matrix.indices.astype(np.int64)))
    return torch.sparse_csr_tensor(*parts, torch.from_numpy(matrix.data.astype(np.float32)), size=matrix.shape)
