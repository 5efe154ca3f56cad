"""`finetune`: the annotation head, and the whole network at a lower rate, on the harmonised labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .cells import Augmenter, CountSet, Tokenizer
from .config import Config, SetConfig
from .genes import read_vocabulary
from .model import Head, ScDiVa
from .optimise import Batch, Batches, Run, load_sets
from .pretrain import masked_loss


def finetune(config: Config, run: Path) -> None:
    """Write `run/finetune.pt` and the loss curve."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed + 1)
    vocabulary = read_vocabulary(run / "vocab.tsv")
    model = ScDiVa(config.model, vocabulary.size)
    pretrained = torch.load(run / "pretrain.pt", weights_only=True)["average"]
    model.load_state_dict({key.removeprefix("model."): tensor for key, tensor in pretrained.items()})
    head = Head(config.model, config.pooling, config.head_size, len(config.labels))

    sets = load_sets(config, run)
    balance = config.finetune.class_balance
    probabilities = [drawing(part, entry, balance) for part, entry in zip(sets, config.sets, strict=True)]
    batches = Batches(
        config,
        sets,
        probabilities,
        Tokenizer(vocabulary, config.model, config.finetune.max_genes),
        Augmenter(config.augment, np.load(run / "variability.npy")),
        config.finetune.tokens_per_batch,
    )
    stage = config.finetune

    def loss(batch: Batch) -> tuple[Tensor, dict[str, float]]:
        hidden = model(batch.ids, batch.values, batch.attended)
        labels, hit = label_loss(head(hidden, batch.attended), batch.allowed)
        figures = {"label": labels.item(), "right": hit.item()}
        if stage.masked_weight > 0.0:
            masked, _ = masked_loss(model, batch, 256, stage.value_weight)
            figures["masked"] = masked.item()
            labels = labels + stage.masked_weight * masked
        return labels, figures

    # "slow": the encoder learns at `learning_rate`, the fresh head at `head_learning_rate`.
    Run("finetune", stage, {"model": model, "head": head}, run, slow="model.").fit(batches, 2, loss)


def label_loss(logits: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """-log of the probability that the allowed labels have together, mean over labelled cells; and how many are right."""
    labelled = allowed.any(1)
    if not labelled.any():
        return logits.sum() * 0.0, torch.tensor(float("nan"))
    logits, allowed = logits[labelled], allowed[labelled]
    of_allowed = logits.masked_fill(~allowed, float("-inf")).logsumexp(1)
    right = allowed.gather(1, logits.argmax(1, keepdim=True)).float().mean()
    return (logits.logsumexp(1) - of_allowed).mean(), right


def drawing(part: CountSet, entry: SetConfig, balance: float) -> np.ndarray:
    """How often each labelled cell is drawn: rare types of a set somewhat more often than they come."""
    labelled = part.allowed.any(1)
    _, kind, size = np.unique(part.allowed, axis=0, return_inverse=True, return_counts=True)
    each = size[kind.ravel()].astype(float) ** -balance * labelled
    if not labelled.any():
        return each
    return each / each.sum() * entry.weight * np.sqrt(labelled.sum())
