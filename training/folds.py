"""`folds`: the label stages once more with a study, or some types, left out, and what the result says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .cells import CountSet, Tokenizer, pad, read_check
from .config import Config, FoldConfig
from .finetune import learn_labels, vote
from .genes import Vocabulary, read_vocabulary
from .model import Head, ScDiVa, pool
from .optimise import load_sets

PER_LABEL = 400  # training cells of a label whose features are kept, and of a label that was left out


@dataclass
class Fold:
    """What a fold's model says.

    Shapes: `logits` [n_cells, n_labels]; `features` [n_cells, n_features] (pooled); `truth` [n_cells], a label's name; `source`
    [n_cells], the file, or "train" for cells that the fold was trained on.
    """

    truth: np.ndarray
    source: np.ndarray
    logits: np.ndarray
    features: np.ndarray

    @staticmethod
    def load(run: Path, fold: FoldConfig) -> Fold:
        """Read what `folds` wrote."""
        with np.load(_path(run, fold)) as file:
            return Fold(file["truth"], file["source"], file["logits"], file["features"])


def _path(run: Path, fold: FoldConfig) -> Path:
    return run / "folds" / f"{fold.name}.npz"


def folds(config: Config, data: Path, run: Path) -> None:
    """Write `run/folds/NAME.npz` for every fold that is not there yet. Each is one training, of two thirds of the steps without
    layers and a third of those with them; the model itself averages several.

    The encoder that they start from was pretrained without labels on all sets, those that are left out here included.
    """
    config = replace(
        config,
        warm=replace(config.warm, runs=1, steps=config.warm.steps * 2 // 3),
        finetune=replace(config.finetune, runs=1, steps=config.finetune.steps // 3),
    )
    for fold in config.folds:
        if _path(run, fold).exists():
            continue
        out = run / "folds" / fold.name
        out.mkdir(parents=True, exist_ok=True)
        sets = load_sets(config, run)
        whole = [part.allowed.copy() for part in sets]
        _leave_out(config, fold, sets)
        vote(sets, config)
        modules = learn_labels(config, run, out, sets)
        answer = _answer(config, data, run, fold, sets, whole, modules)
        np.savez(_path(run, fold), truth=answer.truth, source=answer.source, logits=answer.logits, features=answer.features)
        print(f"{fold.name}: {len(answer.truth)} cells answered", flush=True)


def final_answers(config: Config, data: Path, run: Path) -> Fold:
    """What the model itself says of the check sets."""
    vocabulary = read_vocabulary(run / "vocab.tsv")
    average = torch.load(run / "decode.pt", weights_only=True)["average"]
    model = ScDiVa(config.model, vocabulary.size)
    head = Head(config.model, config.pooling, config.head_size, len(config.labels))
    modules = nn.ModuleDict({"model": model, "head": head})
    modules.load_state_dict(average)
    return _features(config, modules, *_check_cells(config, data, vocabulary))


def _leave_out(config: Config, fold: FoldConfig, sets: list[CountSet]) -> None:
    names = [label.name for label in config.labels]
    for part, entry in zip(sets, config.sets, strict=True):
        if entry.file == fold.without_set:
            part.allowed[:] = False
        part.allowed[:, [names.index(name) for name in fold.without_labels]] = False


def _answer(
    config: Config, data: Path, run: Path, fold: FoldConfig, sets: list[CountSet], whole: list[np.ndarray], modules: nn.ModuleDict
) -> Fold:
    """The cells left out, all cells of the check sets, and a part of those that were trained on."""
    names = np.array([label.name for label in config.labels])
    vocabulary = read_vocabulary(run / "vocab.tsv")
    tokenizer = Tokenizer(vocabulary, config.model)
    random = np.random.default_rng(config.seed)
    cells, truth, source = [], [], []
    for part, entry, allowed in zip(sets, config.sets, whole, strict=True):
        label = np.where(allowed.sum(1) == 1, allowed.argmax(1), -1)
        left_out = (entry.file == fold.without_set) | np.isin(np.append(names, "")[label], fold.without_labels)
        rows = np.flatnonzero((label >= 0) & left_out) if entry.file == fold.without_set else np.empty(0, dtype=int)
        for number in range(len(names)):
            if entry.file != fold.without_set:
                mine = np.flatnonzero(label == number)
                rows = np.append(rows, random.permutation(mine)[:PER_LABEL])
        cells += tokenizer.rows(part.counts, part.elsewhere, rows)
        truth += list(names[label[rows]])
        source += [entry.file if left_out[row] else "train" for row in rows]
    check_cells, check_truth, check_source = _check_cells(config, data, vocabulary)
    return _features(config, modules, cells + check_cells, truth + check_truth, source + check_source)


def _check_cells(config: Config, data: Path, vocabulary: Vocabulary) -> tuple[list, list[str], list[str]]:
    """Tokens, truth and source of all cells of the check sets."""
    tokenizer = Tokenizer(vocabulary, config.model)
    cells, truth, source = [], [], []
    for check in config.checks:
        check_truth, counts, elsewhere = read_check(data, check, vocabulary)
        cells += tokenizer.rows(counts, elsewhere, np.arange(len(check_truth)))
        truth += list(check_truth)
        source += [check.file] * len(check_truth)
    return cells, truth, source


@torch.no_grad()
def _features(config: Config, modules: nn.ModuleDict, cells: list, truth: list[str], source: list[str]) -> Fold:
    features = embed(modules["model"], cells, config.pooling)
    logits = modules["head"].mlp(torch.from_numpy(features)).numpy()
    return Fold(np.array(truth), np.array(source), logits, features)


@torch.no_grad()
def embed(model: nn.Module, cells: list[tuple[np.ndarray, np.ndarray]], pooling: str) -> np.ndarray:
    """Pooled features [n_cells, n_features] of cells as tokens."""
    features = None
    order = sorted(range(len(cells)), key=lambda i: len(cells[i][0]))
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        ids, values, attended = (torch.from_numpy(array) for array in pad([cells[i] for i in rows]))
        part = pool(model(ids, values, attended), attended, pooling).numpy()
        features = np.zeros((len(cells), part.shape[1]), dtype=np.float32) if features is None else features
        features[rows] = part
    return features
