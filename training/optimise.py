"""What pretraining and fine-tuning share: batches that a step number determines, averaging, resuming, the loss curve."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .cells import Augmenter, CountSet, Tokenizer, pad
from .config import Config, StageConfig

POOL_CELLS = 512  # cells drawn together and sorted by length, so that a batch holds little padding


@dataclass
class Batch:
    """Shapes: ids, values, attended [B, L]; allowed [B, n_labels]; masked, chosen [B, L]."""

    ids: Tensor
    values: Tensor
    attended: Tensor
    allowed: Tensor
    chosen: Tensor  # positions to predict
    masked: Tensor  # those of them whose content is hidden from the layers


class Batches:
    """Augmented cells of all sets. Pool n depends on (seed, n) only: a resumed run sees the batches it would have seen."""

    def __init__(
        self,
        config: Config,
        sets: list[CountSet],
        probabilities: list[np.ndarray],
        tokenizer: Tokenizer,
        augmenter: Augmenter,
        tokens_per_batch: int,
    ) -> None:
        self.seed = config.seed
        self.sets = sets
        self.tokenizer = tokenizer
        self.augmenter = augmenter
        self.tokens_per_batch = tokens_per_batch
        self.owner = np.concatenate([np.full(part.counts.shape[0], i) for i, part in enumerate(sets)])
        self.row = np.concatenate([np.arange(part.counts.shape[0]) for part in sets])
        together = np.concatenate(probabilities)
        self.probability = together / together.sum()

    def draw(self, n_cells: int, random: np.random.Generator) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[np.ndarray]]:
        """Tokens of changed copies of at most so many cells, and the labels that each may have."""
        cells, allowed = [], []
        for cell in random.choice(len(self.row), n_cells, p=self.probability):
            part, row = self.sets[self.owner[cell]], self.row[cell]
            span = slice(part.counts.indptr[row], part.counts.indptr[row + 1])
            changed = self.augmenter.draw(part.counts.indices[span], part.counts.data[span], part.elsewhere[row], random)
            if len(changed[0]) < 8:  # nothing is learnt from an empty cell
                continue
            cells.append(self.tokenizer.tokens(*changed))
            allowed.append(part.allowed[row])
        return cells, allowed

    def pool(self, number: int, stage: int) -> Iterator[Batch]:
        """The batches of pool `number`, in random order."""
        random = np.random.default_rng([self.seed, stage, number])
        cells, allowed = self.draw(POOL_CELLS, random)
        order = sorted(range(len(cells)), key=lambda i: len(cells[i][0]))
        groups: list[list[int]] = [[]]
        for i in order:  # ascending, so the newest cell is the longest of its group
            if (len(groups[-1]) + 1) * len(cells[i][0]) > self.tokens_per_batch:
                groups.append([])
            groups[-1].append(i)
        for group in random.permutation(len(groups)):
            members = groups[group]
            if members:
                yield self._batch([cells[i] for i in members], [allowed[i] for i in members], random)

    def _batch(self, cells: list, allowed: list, random: np.random.Generator) -> Batch:
        ids, values, attended = pad(cells)
        share = random.random((len(cells), 1))  # t ~ U(0, 1), one a cell
        chosen = (random.random(ids.shape) < share) & attended
        # 90/10: a tenth of the chosen positions stay as they are. Embedding and annotation run on clean cells; a model that
        # must also predict at visible positions keeps their hidden states informative. (Random replacement, BERT's other
        # option, would put a wrong gene into the set that [LAT] summarises.)
        masked = chosen & (random.random(ids.shape) < 0.9)
        arrays = (ids, values, attended, np.stack(allowed), chosen, masked)
        return Batch(*(torch.from_numpy(array) for array in arrays))


class Run:
    """An optimisation that can be killed at any time and goes on from its last checkpoint."""

    def __init__(self, name: str, stage: StageConfig, modules: nn.ModuleDict, folder: Path, slow: str = "") -> None:
        self.name, self.stage, self.modules = name, stage, modules
        self.path = folder / f"{name}.pt"
        self.log = folder / f"{name}.jsonl"
        self.average = {key: tensor.detach().clone() for key, tensor in self.modules.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self._groups(stage, slow), betas=(0.9, 0.98))
        self.base = [group["lr"] for group in self.optimizer.param_groups]
        self.step, self.next_pool, self.seconds = 0, 0, 0.0
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.modules.load_state_dict(saved["weights"])
            self.average = saved["average"]
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.next_pool, self.seconds = saved["step"], saved["next_pool"], saved["seconds"]
            print(f"{name}: resumed at step {self.step}")

    def _groups(self, stage: StageConfig, slow: str) -> list[dict]:
        groups = []
        for rate, is_slow in ((stage.learning_rate, True), (stage.head_learning_rate, False)):
            named = [(n, p) for n, p in self.modules.named_parameters() if p.requires_grad and n.startswith(slow) == is_slow]
            # Norm weights, biases and the embedding (whose rows see rare gradients) do not decay.
            flat = [p for n, p in named if p.ndim < 2 or "gene_embedding" in n]
            wide = [p for n, p in named if p.ndim >= 2 and "gene_embedding" not in n]
            groups += [
                {"params": flat, "lr": rate, "weight_decay": 0.0},
                {"params": wide, "lr": rate, "weight_decay": stage.weight_decay},
            ]
        return groups

    def fit(self, batches: Batches, number: int, loss: Callable[[Batch], tuple[Tensor, dict[str, float]]]) -> None:
        """Run to the stage's last step. `loss` gives the loss of a batch and figures for the log."""
        begun, saved_step, figures = time.monotonic(), self.step, []
        while self.step < self.stage.steps:
            for batch in batches.pool(self.next_pool, number):
                if self.step >= self.stage.steps:
                    break
                for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
                    group["lr"] = base * self._schedule()
                value, shown = loss(batch)
                self.optimizer.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
                self.optimizer.step()
                self.step += 1
                self._average()
                figures.append(shown)
                if len(figures) == 50:
                    mean = {key: float(np.mean([shown[key] for shown in figures])) for key in figures[0]}
                    self._note(mean, self.seconds + time.monotonic() - begun)
                    figures = []
            self.next_pool += 1
            if self.step - saved_step >= self.stage.checkpoint_every or self.step >= self.stage.steps:
                now = time.monotonic()
                self.seconds, begun, saved_step = self.seconds + now - begun, now, self.step
                self._save()
        plot(self.log)

    def _schedule(self) -> float:
        """Linear warm-up, then half a cosine down to a twentieth."""
        warm = min(1.0, (self.step + 1) / self.stage.warmup)
        return warm * (0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * self.step / self.stage.steps)))

    @torch.no_grad()
    def _average(self) -> None:
        # Early on the average follows the weights closely; later it smooths over about 1 / (1 - decay) steps.
        decay = min(self.stage.average_decay, (1 + self.step) / (10 + self.step))
        for key, tensor in self.modules.state_dict().items():
            self.average[key].lerp_(tensor, 1.0 - decay)

    def _note(self, mean: dict[str, float], seconds: float) -> None:
        line = {"step": self.step, "seconds": round(seconds), **{key: round(value, 4) for key, value in mean.items()}}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(self.name, line, flush=True)

    def _save(self) -> None:
        part = self.path.with_suffix(".part")
        state = {
            "weights": self.modules.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "next_pool": self.next_pool,
            "seconds": self.seconds,
        }
        torch.save(state, part)
        part.replace(self.path)  # a kill while writing leaves the last whole checkpoint


def plot(log: Path) -> None:
    """Draw every figure of a log against the step, beside the log."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not log.exists():
        return
    # A resumed run writes some steps twice; the later line counts.
    lines = list({line["step"]: line for line in map(json.loads, log.read_text().splitlines())}.values())
    names = [name for name in lines[0] if name not in ("step", "seconds")]
    figure, axes = pyplot.subplots(1, len(names), figsize=(5 * len(names), 4), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        axis.plot([line["step"] for line in lines], [line[name] for line in lines])
        axis.set(xlabel="step", title=name)
    figure.tight_layout()
    figure.savefig(log.with_suffix(".png"))
    pyplot.close(figure)


def load_sets(config: Config, run: Path) -> list[CountSet]:
    """The prepared sets, in the order of the configuration."""
    return [CountSet.load(run / "sets" / f"{Path(entry.file).stem}.npz") for entry in config.sets]


def evenly(sets: list[CountSet], config: Config) -> list[np.ndarray]:
    """How often each cell is drawn when labels do not matter: every set by its weight x the root of its size."""
    sizes = [part.counts.shape[0] for part in sets]
    return [np.full(n_cells, entry.weight * n_cells**-0.5) for n_cells, entry in zip(sizes, config.sets, strict=True)]
