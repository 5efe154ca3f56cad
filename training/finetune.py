"""`finetune`: the annotation head, and the whole network at a lower rate, on the harmonised labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from .cells import Augmenter, CountSet, Tokenizer, normalised
from .config import Config, StageConfig
from .genes import read_vocabulary
from .model import Head, ScDiVa
from .optimise import Batch, Batches, Run, evenly, load_sets
from .pretrain import masked_loss
from .teacher import Teacher, fit_teacher


def finetune(config: Config, run: Path) -> None:
    """Write `warm-N.pt`, `finetune-N.pt`, `decode.pt` and their loss curves to `run`; the last is what is exported."""
    sets = load_sets(config, run)
    vote(sets, config)
    modules = learn_labels(config, run, run, sets)

    # The encoder has moved under the reconstruction heads. They, and what stands for a hidden gene, learn to fit it again. None
    # of them takes part in the pass over a clean cell: every answer of the annotation head stays as it is.
    reconstructing = ("model.gene_head", "model.value_head", "model.gene_mask_emb", "model.value_mask_emb")
    for parameter_name, parameter in modules.named_parameters():
        parameter.requires_grad_(parameter_name.startswith(reconstructing))
    stage = config.decode
    batches = Batches(
        config,
        sets,
        evenly(sets, config),
        Tokenizer(read_vocabulary(run / "vocab.tsv"), config.model, stage.max_genes),
        Augmenter(config.augment, np.load(run / "variability.npy")),
        stage.tokens_per_batch,
    )

    def reconstruction(batch: Batch) -> tuple[Tensor, dict[str, float]]:
        return masked_loss(modules["model"], batch, stage.scored_positions, stage.value_weight)

    Run("decode", stage, modules, run).fit(batches, 4, reconstruction)


def learn_labels(config: Config, run: Path, out: Path, sets: list[CountSet]) -> nn.ModuleDict:
    """Encoder and head after both label stages. `run` has the pretrained encoder; checkpoints and curves go to `out`."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed + 1)
    vocabulary = read_vocabulary(run / "vocab.tsv")
    variability = np.load(run / "variability.npy")
    model = ScDiVa(config.model, vocabulary.size)
    head = Head(config.model, config.pooling, config.head_size, len(config.labels))
    modules = nn.ModuleDict({"model": model, "head": head})
    average = torch.load(run / "pretrain.pt", weights_only=True)["average"]
    model.load_state_dict({key.removeprefix("model."): tensor for key, tensor in average.items()})

    # Without layers a step costs a twentieth: gene embedding, [LAT] and head first learn what a bag of genes can tell, in many
    # passes over the cells; then the whole network goes on from there.
    blood = torch.tensor(["blood" in label.tissues for label in config.labels])
    teacher = None
    for number, (name, stage, n_layers) in enumerate((("warm", config.warm, 0), ("finetune", config.finetune, None)), 2):
        tokenizer = Tokenizer(vocabulary, config.model, stage.max_genes)
        drawn = drawing(sets, config, stage.class_balance)
        if teacher is None:
            augmenter = Augmenter(config.augment, variability, stage.gene_efficiency)
            seen = Batches(config, sets, drawn, tokenizer, augmenter, stage.tokens_per_batch)
            teacher = fit_teacher(config, sets, seen, vocabulary)
            teacher.plant(model.gene_embedding.weight.data, config.teacher.plant)

        def annotation(
            batch: Batch, n_layers: int | None = n_layers, stage: StageConfig = stage, teacher: Teacher = teacher
        ) -> tuple[Tensor, dict[str, float]]:
            hidden = model(batch.ids, batch.values, batch.attended, n_layers=n_layers)
            logits = head(hidden, batch.attended)
            of_labels, right = label_loss(logits, batch.allowed)
            of_teacher = teacher_loss(
                logits, teacher.logits(batch.ids, batch.values, batch.attended), blood, config.teacher.temperature
            )
            loss = stage.label_weight * of_labels + stage.teacher_weight * of_teacher
            return loss, {"label": of_labels.item(), "teacher": of_teacher.item(), "right": right.item()}

        augmenter = Augmenter(config.augment, variability, stage.gene_efficiency, stage.wild_efficiency)
        batches = Batches(config, sets, drawn, tokenizer, augmenter, stage.tokens_per_batch)
        start = {key: tensor.clone() for key, tensor in modules.state_dict().items()}
        averages = []
        for repeat in range(stage.runs):
            modules.load_state_dict(start)
            # "slow": the encoder learns at `learning_rate`, the fresh head at `head_learning_rate`.
            stage_run = Run(f"{name}-{repeat}", stage, modules, out, slow="model.")
            stage_run.fit(batches, number + 10 * repeat, annotation)
            averages.append(stage_run.average)
        modules.load_state_dict({key: torch.stack([one[key] for one in averages]).mean(0) for key in start})
    return modules


def vote(sets: list[CountSet], config: Config) -> None:
    """Give the cells of unlabelled blood sets the label of which a logistic regression is sure (p >= 0.8).

    The regression sees a cell as it was measured; the network learns to say the same of its thinned and cut copies. T cells
    of either kind are voted for together: CD4 against CD8 is where the regression errs between runs.
    """
    if not any(entry.vote for entry in config.sets):
        return
    names = [label.name for label in config.labels]
    t_cells = [i for i, name in enumerate(names) if name in ("CD4 T", "CD8 T")]
    train = [
        (normalised(part, config.model.target_sum)[rows], part.allowed[rows].argmax(1))
        for part, entry in zip(sets, config.sets, strict=True)
        if entry.votes and (rows := part.allowed.sum(1) == 1).any()
    ]
    model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=200)
    model.fit(sp.vstack([x for x, _ in train]), np.concatenate([y for _, y in train]))
    classes = list(model.classes_)
    for part, entry in zip(sets, config.sets, strict=True):
        if not entry.vote:
            continue
        probability = model.predict_proba(normalised(part, config.model.target_sum))
        of_t_cells = probability[:, [classes.index(i) for i in t_cells]].sum(1)
        for i, label in enumerate(classes):
            if label not in t_cells:
                part.allowed[probability[:, i] >= 0.8, label] = True
        part.allowed[np.ix_(of_t_cells >= 0.8, t_cells)] = True
        shown = {names[i]: int(n) for i, n in enumerate(part.allowed.sum(0)) if n}
        print(f"{entry.file}: {part.allowed.any(1).sum()} of {len(part.allowed)} cells voted for: {shown}")


def label_loss(logits: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """-log of the probability that the allowed labels have together, mean over labelled cells; and how many are right."""
    labelled = allowed.any(1)
    if not labelled.any():
        return logits.sum() * 0.0, torch.tensor(float("nan"))
    logits, allowed = logits[labelled], allowed[labelled]
    of_allowed = logits.masked_fill(~allowed, float("-inf")).logsumexp(1)
    right = allowed.gather(1, logits.argmax(1, keepdim=True)).float().mean()
    return (logits.logsumexp(1) - of_allowed).mean(), right


def teacher_loss(logits: Tensor, taught: Tensor, blood: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from the teacher's answers at a temperature, of all labels and of blood's alone."""

    def divergence(mine: Tensor, wanted: Tensor) -> Tensor:
        mine, wanted = F.log_softmax(mine / temperature, 1), F.log_softmax(wanted / temperature, 1)
        return F.kl_div(mine, wanted, log_target=True, reduction="batchmean") * temperature**2

    return 0.5 * divergence(logits, taught) + 0.5 * divergence(logits[:, blood], taught[:, blood])


def drawing(sets: list[CountSet], config: Config, balance: float) -> list[np.ndarray]:
    """How often each labelled cell is drawn: set weight x (cells of its kind in all sets) ^ -balance.

    A kind is a set of allowed labels. At 0 cells are drawn as they come, at 1 every kind is drawn equally often.
    """
    together = np.concatenate([part.allowed for part in sets])
    _, kind, size = np.unique(together, axis=0, return_inverse=True, return_counts=True)
    each = size[kind.ravel()].astype(float) ** -balance * together.any(1)
    parts = np.split(each, np.cumsum([len(part.allowed) for part in sets])[:-1])
    return [entry.weight * part for entry, part in zip(config.sets, parts, strict=True)]
