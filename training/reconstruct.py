"""Masked genes and values of check cells: what the two reconstruction heads give back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.stats import pearsonr

from .cells import Tokenizer, pad, read_check
from .config import Config
from .export import load
from .genes import read_vocabulary

SHARES = (0.3, 0.5, 0.7, 0.9)
N_CELLS = 200  # of each check set


@torch.no_grad()
def reconstruction_table(config: Config, data: Path, folder: Path) -> str:
    """Identity accuracy and Pearson correlation of values at masked positions, beside each gene's mean value where it is seen."""
    vocabulary = read_vocabulary(folder / "vocab.tsv")
    model, _ = load(config, folder)
    random = np.random.default_rng(config.seed)
    lines = [
        "### Reconstruction",
        "",
        f"Up to {N_CELLS} cells of each check set. Identity: share of masked genes named first; value: Pearson correlation of"
        " log1p values over masked positions; gene mean: the same for each gene's mean over the other cells of the study that"
        " have it. The cell's token has seen the whole cell, as the architecture has it.",
        "",
        "| study | " + " | ".join(f"{share:.0%}: identity | value | gene mean" for share in SHARES) + " |",
        "|---" * (1 + 3 * len(SHARES)) + "|",
    ]
    for check in config.checks:
        _, counts, elsewhere = read_check(data, check, vocabulary)
        rows = random.permutation(counts.shape[0])
        tokenizer = Tokenizer(vocabulary, config.model)
        cells = tokenizer.rows(counts, elsewhere, rows[:N_CELLS])
        mean = _gene_means(tokenizer.rows(counts, elsewhere, rows[N_CELLS:]) or cells, vocabulary.size)
        shown = []
        for share in SHARES:
            right, predicted, truth, of_gene = [], [], [], []
            for start in range(0, len(cells), 25):
                ids, values, attended = (torch.from_numpy(array) for array in pad(cells[start : start + 25]))
                masked = torch.from_numpy(random.random(ids.shape) < share) & attended
                hidden = model(ids, values, attended, masked)[:, 1:][masked]
                right.append((model.gene_head(hidden).argmax(-1) == ids[masked]).numpy())
                predicted.append(model.predict_values(hidden).numpy())
                truth.append(values[masked].numpy())
                of_gene.append(mean[ids[masked].numpy()])
            truth = np.concatenate(truth)
            value = pearsonr(np.concatenate(predicted), truth).statistic
            baseline = pearsonr(np.concatenate(of_gene), truth).statistic
            shown.append(f"{np.concatenate(right).mean():.3f} | {value:.3f} | {baseline:.3f}")
        lines.append(f"| {Path(check.file).stem} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _gene_means(cells: list[tuple[np.ndarray, np.ndarray]], size: int) -> np.ndarray:
    """Mean value of each id over the cells that have it; the mean of all where none has."""
    ids = np.concatenate([ids for ids, _ in cells])
    values = np.concatenate([values for _, values in cells])
    count = np.bincount(ids, minlength=size)
    total = np.bincount(ids, weights=values, minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), values.mean())
