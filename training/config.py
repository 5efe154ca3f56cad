"""The one configuration file (`mini.toml`) as typed objects; an unknown or missing key is an error."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network, and how a cell becomes its tokens. `vocab_size` follows from the vocabulary."""

    name: str
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_genes: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    target_sum: float = 10_000.0


@dataclass(frozen=True)
class VocabularyConfig:
    """Which genes the model knows."""

    n_genes: int
    min_sets: int  # a gene must be detected in at least so many sets
    min_cells: int  # and in at least so many cells of the whole population
    locus_types: tuple[str, ...]  # HGNC locus types that may enter
    lineage_genes: tuple[str, ...]  # enter in any case, when they are seen at all


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to the counts of a training cell, so that shallow files and gene panels are nothing new."""

    panel_probability: float
    panel_smallest: int
    subset_probability: float
    subset_smallest: float
    thin_probability: float
    thin_smallest_depth: float
    value_jitter: float


@dataclass(frozen=True)
class TeacherConfig:
    """The regressions that the network learns from."""

    c: float  # inverse strength of the L2 penalty
    iterations: int
    augmented_cells: int
    plant: float  # strength of its weights in the gene embedding that training starts from
    temperature: float  # at which the network's answers are compared with the teacher's


@dataclass(frozen=True)
class StageConfig:
    """One optimisation: pretraining or fine-tuning."""

    steps: int
    max_genes: int  # tokens a cell in this stage; shorter than the model's where time is short
    tokens_per_batch: int
    learning_rate: float
    head_learning_rate: float
    warmup: int
    weight_decay: float
    average_decay: float  # of the exponential moving average of the weights, which is what is kept
    checkpoint_every: int
    scored_positions: int = 0  # reconstruction: masked positions a step whose loss is computed
    value_weight: float = 10.0  # reconstruction: weight of the value loss (the paper's 10)
    class_balance: float = 0.0  # fine-tuning: 0 draws cells as they come, 1 every type equally often
    teacher_weight: float = 0.0  # annotation: weight of the teacher's answers in the loss
    label_weight: float = 1.0  # and of the labels
    gene_efficiency: float = 0.0  # at most this sd of the log of what a platform sees of a gene, drawn anew for every cell
    wild_efficiency: float = 0.0  # of every second cell, on top: the teacher has an answer to any cell
    runs: int = 1  # trainings from the same start, each on batches of its own; their averages are averaged


@dataclass(frozen=True)
class LabelConfig:
    """A cell type of the head."""

    name: str
    ontology_id: str
    tissues: tuple[str, ...] = ()  # those whose cells may have this label, where the user says or the data tell the tissue
    mistaken_in: tuple[str, ...] = ()  # tissues that have no such cells but some that resemble them: no sign of another tissue


@dataclass(frozen=True)
class SetConfig:
    """A labelled or unlabelled training file.

    `labels` maps a native label to the head labels that it allows. A native label such as "Myeloid" allows several: the
    loss then asks only that their probabilities add up to one, and never teaches that a monocyte is no macrophage.
    """

    file: str
    weight: float  # how often its cells are drawn
    label_column: str = ""
    votes: bool = False  # trains the regression that votes on unlabelled blood
    vote: bool = False  # unlabelled blood, to be voted on
    exclude_column: str = ""  # cells flagged here are in another training set too
    labels: dict[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class CheckConfig:
    """A labelled file of a study that was not trained on."""

    file: str
    labels: dict[str, str]
    exclude_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoldConfig:
    """A training from the same pretrained encoder that leaves something out: a study, to be scored on it, or types, to see how
    cells of a type that the head does not have are answered."""

    name: str
    without_set: str = ""
    without_labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """Everything that decides what a training run computes."""

    seed: int
    threads: int
    pooling: str
    head_size: int
    model: ModelConfig
    vocabulary: VocabularyConfig
    augment: AugmentConfig
    teacher: TeacherConfig
    pretrain: StageConfig
    warm: StageConfig
    finetune: StageConfig
    decode: StageConfig
    labels: tuple[LabelConfig, ...]
    sets: tuple[SetConfig, ...]
    checks: tuple[CheckConfig, ...]
    folds: tuple[FoldConfig, ...] = ()


def read_config(path: Path) -> Config:
    """Read a configuration; refuse labels that the head does not have."""
    raw = tomllib.loads(path.read_text())
    labels = tuple(LabelConfig(**_tuples(entry)) for entry in raw["labels"])
    known = {label.name for label in labels}
    sets = tuple(_read_set(entry, known, path) for entry in raw["sets"])
    checks = tuple(CheckConfig(**_tuples(entry)) for entry in raw["checks"])
    folds = tuple(FoldConfig(**_tuples(entry)) for entry in raw.get("folds", ()))
    if unknown := {name for fold in folds for name in fold.without_labels} - known:
        raise ValueError(f"{path}: [[folds]] leave out {sorted(unknown)}, which are not in [[labels]]")
    if unknown := {fold.without_set for fold in folds} - {entry.file for entry in sets} - {""}:
        raise ValueError(f"{path}: [[folds]] leave out {sorted(unknown)}, which are not in [[sets]]")
    return Config(
        seed=raw["seed"],
        threads=raw["threads"],
        pooling=raw["pooling"],
        head_size=raw["head_size"],
        model=ModelConfig(**raw["model"]),
        vocabulary=VocabularyConfig(**_tuples(raw["vocabulary"])),
        augment=AugmentConfig(**raw["augment"]),
        teacher=TeacherConfig(**raw["teacher"]),
        pretrain=StageConfig(**raw["pretrain"]),
        warm=StageConfig(**raw["warm"]),
        finetune=StageConfig(**raw["finetune"]),
        decode=StageConfig(**raw["decode"]),
        labels=labels,
        sets=sets,
        checks=checks,
        folds=folds,
    )


def _tuples(entry: dict) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _read_set(entry: dict, known: set[str], path: Path) -> SetConfig:
    mapping = {
        native: (allowed,) if isinstance(allowed, str) else tuple(allowed) for native, allowed in entry.get("labels", {}).items()
    }
    for native, allowed in mapping.items():
        if unknown := set(allowed) - known:
            raise ValueError(f"{path}: {entry['file']}: {native!r} maps to {sorted(unknown)}, which are not in [[labels]]")
    return SetConfig(**{**entry, "labels": mapping})
