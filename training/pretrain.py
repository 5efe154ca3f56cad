"""`pretrain`: masked discrete diffusion on all sets, without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn
from torch.nn import functional as F

from .cells import Augmenter, CountSet, Tokenizer, normalised
from .config import Config
from .genes import read_vocabulary
from .model import FIRST_GENE, ScDiVa
from .optimise import Batch, Batches, Run, evenly, load_sets


def pretrain(config: Config, run: Path) -> None:
    """Write `run/pretrain.pt` and the loss curve."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    vocabulary = read_vocabulary(run / "vocab.tsv")
    sets = load_sets(config, run)
    model = ScDiVa(config.model, vocabulary.size)
    if not (run / "pretrain.pt").exists():
        start_from_coexpression(model, sets, config)

    batches = Batches(
        config,
        sets,
        evenly(sets, config),
        Tokenizer(vocabulary, config.model, config.pretrain.max_genes),
        Augmenter(config.augment, np.load(run / "variability.npy")),
        config.pretrain.tokens_per_batch,
    )
    stage = config.pretrain

    def loss(batch: Batch) -> tuple[Tensor, dict[str, float]]:
        value, figures = masked_loss(model, batch, stage.scored_positions, stage.value_weight)
        return value, figures

    Run("pretrain", stage, nn.ModuleDict({"model": model}), run).fit(batches, 1, loss)


def masked_loss(model: ScDiVa, batch: Batch, most: int, value_weight: float) -> tuple[Tensor, dict[str, float]]:
    """CE of the gene + 10 x MSE of the value over the chosen positions: the paper's loss.

    At most `most` of them, drawn evenly, are scored a step: the mean is the same, and the V-wide softmax, which would cost
    more than the layers, is paid for a part only.
    """
    hidden = model(batch.ids, batch.values, batch.attended, batch.masked)[:, 1:]
    where = batch.chosen.nonzero()
    if len(where) > most:
        where = where[torch.randperm(len(where))[:most]]
    at = where[:, 0], where[:, 1]
    rows = hidden[at]
    logits = model.gene_head(rows)
    genes = F.cross_entropy(logits, batch.ids[at])
    values = F.mse_loss(model.predict_values(rows), batch.values[at])
    hit = (logits.argmax(-1) == batch.ids[at]).float().mean()
    figures = {
        "loss": genes.item() + value_weight * values.item(),
        "gene": genes.item(),
        "value": values.item(),
        "hit": hit.item(),
    }
    return genes + value_weight * values, figures


@torch.no_grad()
def start_from_coexpression(model: ScDiVa, sets: list[CountSet], config: Config) -> None:
    """Start genes that vary together close together: the leading factors of the log-normalised, standardised counts.

    From random rows, most of an hour on two cores goes into finding what this factorisation gives in seconds.
    """
    factors = coexpression_factors(sets, config)
    start = torch.from_numpy(factors).float()
    last = FIRST_GENE + len(start)
    model.gene_embedding.weight.mul_(0.02)
    model.gene_embedding.weight[FIRST_GENE:last] += start
    model.gene_head.weight[FIRST_GENE:last] += start * 0.1


def coexpression_factors(sets: list[CountSet], config: Config) -> np.ndarray:
    """[n_genes, hidden_size], unit mean square over all entries."""
    blocks = []
    for part in sets:
        dense = normalised(part, config.model.target_sum).toarray()
        dense -= dense.mean(0)
        dense /= dense.std(0) + 0.1
        # A gene absent from a set is 0 there; sets weigh by the root of their size.
        blocks.append(np.clip(dense, -5, 5).astype(np.float32) * dense.shape[0] ** -0.25)
    _, size, right = randomized_svd(
        np.concatenate(blocks), n_components=config.model.hidden_size, n_iter=3, random_state=config.seed
    )
    factors = right.T * np.sqrt(size)
    # Rows to equal length: a rare gene must say as much about its cell as a common one. A random turn spreads the factors
    # over all axes, so that no attention head starts with the leading ones alone.
    factors /= np.linalg.norm(factors, axis=1, keepdims=True) + 1e-6
    turn, _ = np.linalg.qr(np.random.default_rng(config.seed).normal(size=(factors.shape[1],) * 2))
    return (factors @ turn) * np.sqrt(factors.shape[1])
