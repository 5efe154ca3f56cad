"""The laws that the exported files rest on, on data made up here."""

from __future__ import annotations

import gzip
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from safetensors.numpy import load_file, save_file

from training import stress
from training.calibrate import calibration_error, fit_temperature, softmax
from training.cells import Augmenter, Tokenizer, pad
from training.config import Config, read_config
from training.genes import GeneTable, Vocabulary, read_hgnc, read_vocabulary
from training.yardsticks import METHODS, log_normalised

MINI = Path(__file__).with_name("mini.toml")
PROGRAMS = [Path(__file__).parent.parent / "target" / profile / "scdiva" for profile in ("release", "debug")]
HGNC = """symbol\tstatus\tlocus_type\talias_symbol\tprev_symbol\tensembl_gene_id
AAA\tApproved\tgene with protein product\t"shared|only_a|BBB"\told_a\tENSG01
BBB\tApproved\tgene with protein product\t"shared|old_a"\t\tENSG02
CCC\tEntry Withdrawn\tgene with protein product\t\t\tENSG03
"""


def test_an_alias_names_one_gene(tmp_path: Path) -> None:
    path = tmp_path / "hgnc.txt.gz"
    path.write_bytes(gzip.compress(HGNC.encode()))
    table, wanted = read_hgnc(path, ("gene with protein product",))
    assert table.symbols == ["AAA", "BBB"] and wanted.all()
    # "shared" means two genes, "BBB" is a symbol, and a previous symbol goes before another gene's alias.
    assert table.aliases == [("old_a", "only_a"), ()]


def test_ensembl_id_goes_before_symbol_before_alias() -> None:
    table = GeneTable(["AAA", "BBB"], ["ENSG01", ""], [("old_a",), ()])
    found = table.match(["BBB", "BBB", "old_a", "ZZZ"], ["ENSG01.7", "", "", ""])
    assert found.tolist() == [0, 1, 0, -1]


def test_tokens_prefer_specific_genes_and_lower_ids(tmp_path: Path) -> None:
    vocabulary = Vocabulary(list("ABCD"), [""] * 4, [()] * 4, entropies=np.array([1.0, 0.5, 0.5, 1.0]))
    vocabulary.write(tmp_path / "vocab.tsv")
    vocabulary = read_vocabulary(tmp_path / "vocab.tsv")
    config = replace(read_config(MINI).model, max_genes=3)
    ids, values = Tokenizer(vocabulary, config).tokens(np.arange(4), np.array([3.0, 2.0, 2.0, 3.0]), total=20.0)
    assert ids.tolist() == [3, 4, 2]
    assert values == pytest.approx(np.log1p([1000.0, 1000.0, 1500.0]), rel=1e-6)


def test_changed_cells_keep_what_a_change_is_not_about() -> None:
    symbols = [*stress.INTERFERON, *sorted(set(stress.INTERFERON_MYELOID) - set(stress.INTERFERON)), *stress.LESS_IN_MONOCYTES]
    symbols += [f"G{i}" for i in range(1200 - len(symbols))]
    n_genes = len(symbols)
    vocabulary = Vocabulary(symbols, [""] * n_genes, [()] * n_genes, entropies=np.ones(n_genes))
    random = np.random.default_rng(0)
    counts = sp.csr_matrix(random.poisson(1.0, (10, n_genes)).astype(np.float32))
    study = stress.Study(np.array(["B"] * 5 + ["CD14 Mono"] * 5), counts, np.full(10, 50.0))

    shallow = stress._shallow(study, random)
    assert (shallow.counts.toarray() <= counts.toarray()).all()
    assert np.asarray(shallow.counts.sum(1)).ravel() + shallow.elsewhere == pytest.approx(np.full(10, stress.SHALLOW), rel=0.3)

    panel = stress._panel(study, random)
    kept = panel.counts.getnnz(0) > 0
    assert kept.sum() == stress.PANEL and (panel.counts.toarray()[:, kept] == counts.toarray()[:, kept]).all()

    deep = stress._deep(study, random)
    assert deep.truth.tolist() == ["B", "B", "CD14 Mono", "CD14 Mono"] and (deep.elsewhere == 200.0).all()
    assert deep.counts[0].sum() < counts[:5].sum() and deep.counts.sum() == pytest.approx(1.6 * counts.sum(), rel=0.1)

    stimulated = stress._stimulated(study, vocabulary, random)
    added = (stimulated.counts - counts).toarray()
    named = np.isin(symbols, [*stress.INTERFERON])
    fewer = np.isin(symbols, stress.LESS_IN_MONOCYTES)
    assert (added[:5][:, ~named] == 0).all() and added[:5][:, named].sum() > 0
    assert (added[5:][:, fewer] <= 0).all() and added[5:].sum() > 2 * added[:5].sum()


def test_thinning_never_adds_counts() -> None:
    config = replace(read_config(MINI).augment, thin_probability=1.0, value_jitter=0.0)
    augmenter = Augmenter(config, np.random.default_rng(0).normal(size=600))
    genes, counts = np.arange(600), np.full(600, 4.0, dtype=np.float32)
    for seed in range(20):
        kept, thinned, total = augmenter.draw(genes, counts, 100.0, np.random.default_rng(seed))
        assert (thinned > 0).all() and (thinned <= counts[kept]).all()
        assert thinned.sum() <= total <= counts.sum() + 100.0 + 1e-3


def test_two_steps_export_and_agree_with_float64(tmp_path: Path) -> None:
    """The whole road on made-up data; `export` itself raises when torch and the reference differ by 2e-4 of RMS."""
    _train(_tiny(tmp_path), tmp_path)
    written = {path.name for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert written == {"config.json", "model.safetensors", "vocab.tsv", "cell_types.safetensors"}


def test_the_command_runs_what_was_exported(tmp_path: Path) -> None:
    """`scdiva forward` on both backends against torch."""
    name = os.environ.get("SCDIVA") or next((str(p) for p in PROGRAMS if p.exists()), None)
    if name is None:
        pytest.skip("NOT TESTED against the command: there is no target/*/scdiva; run `cargo build` first, or set SCDIVA")
    config = _tiny(tmp_path)
    _train(config, tmp_path)
    from training.export import load

    model, _ = load(config, tmp_path / "model")
    random = np.random.default_rng(2)
    ids = np.stack([random.permutation(100)[:20] for _ in range(3)]) + 2
    values = random.uniform(0.1, 4.0, ids.shape).astype(np.float32)
    masked = random.random(ids.shape) < 0.3
    save_file(
        {"gene_ids": ids.astype(np.int64), "values": values, "masked": masked.astype(np.uint8)}, tmp_path / "in.safetensors"
    )
    with torch.no_grad():
        tensors = (torch.from_numpy(ids), torch.from_numpy(values), torch.ones(ids.shape, dtype=torch.bool))
        hidden = model(*tensors, torch.from_numpy(masked))
        expected = {"latent": hidden[:, 0], "hidden": hidden[:, 1:]}
        expected |= {"gene_logits": model.gene_head(hidden[:, 1:]), "values": model.predict_values(hidden[:, 1:])}
    for device in ("cpu", "gpu"):
        arguments = ["--model", tmp_path / "model", "--device", device, "--input", tmp_path / "in.safetensors"]
        subprocess.run([name, "forward", *arguments, "-o", tmp_path / f"{device}.safetensors"], check=True)
        answer = load_file(tmp_path / f"{device}.safetensors")
        for key, tensor in expected.items():
            error = np.abs(answer[key] - tensor.numpy()).max() / np.sqrt((tensor.numpy() ** 2).mean())
            assert error <= 2e-4, f"{device}: {key} is {error:.1e} of its RMS from torch"


def test_a_temperature_is_found() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(0.0, 2.0, (4000, 5))
    truth = np.array([random.choice(5, p=row) for row in softmax(logits)])
    assert fit_temperature([logits * 3.0], [truth]) == pytest.approx(3.0, rel=0.1)
    assert calibration_error(softmax(logits).max(1), logits.argmax(1) == truth) < 0.03
    assert calibration_error(softmax(logits * 3.0).max(1), logits.argmax(1) == truth) > 0.1


def test_yardsticks_tell_two_types_apart() -> None:
    random = np.random.default_rng(4)
    rate = np.full((120, 200), 0.5)
    rate[:60, :40] = rate[60:, 40:80] = 4.0
    counts = log_normalised(sp.csr_matrix(random.poisson(rate).astype(np.float32)))
    labels = np.array(["b"] * 60 + ["t"] * 60)
    train = np.arange(120) % 2 == 0
    for name, method in METHODS.items():
        predicted, _ = method(counts[train], labels[train], counts[~train])
        assert (predicted == labels[~train]).all(), name


def test_the_teacher_tells_two_types_apart_at_any_depth(tmp_path: Path) -> None:
    from training.finetune import drawing
    from training.optimise import Batches, load_sets
    from training.prepare import prepare
    from training.teacher import fit_teacher

    config = _tiny(tmp_path)
    prepare(config, tmp_path, tmp_path / "run")
    sets = load_sets(config, tmp_path / "run")
    vocabulary = read_vocabulary(tmp_path / "run" / "vocab.tsv")
    tokenizer = Tokenizer(vocabulary, config.model)
    augmenter = Augmenter(config.augment, np.load(tmp_path / "run" / "variability.npy"))
    batches = Batches(config, sets, drawing(sets, config, 0.7), tokenizer, augmenter, 2000)
    teacher = fit_teacher(config, sets, batches, vocabulary)
    part = sets[0]
    shallow = replace(part, counts=sp.csr_matrix(np.minimum(part.counts.toarray(), 1.0)))
    for cells in (part, shallow):
        batch = (torch.from_numpy(array) for array in pad(tokenizer.rows(cells.counts, cells.elsewhere, np.arange(80))))
        logits = teacher.logits(*batch)
        assert (logits.argmax(1).numpy() == part.allowed.argmax(1)).mean() > 0.95
    embedding = torch.randn(vocabulary.size, config.model.hidden_size)
    before = embedding.clone()
    teacher.plant(embedding, 2.0)
    assert (embedding[:2] == before[:2]).all() and (embedding[-3:] == before[-3:]).all()
    assert (embedding[2:-3] != before[2:-3]).all()


def _train(config: Config, folder: Path) -> None:
    from training.calibrate import calibrate
    from training.export import export
    from training.finetune import finetune
    from training.prepare import prepare
    from training.pretrain import pretrain

    run = folder / "run"
    prepare(config, folder, run)
    pretrain(config, run)
    finetune(config, run)
    calibrate(config, folder, run)
    export(config, run, folder / "model")


def _tiny(folder: Path) -> Config:
    """A configuration of a few hundred weights, and its data: two types that differ in ten genes."""
    random = np.random.default_rng(1)
    symbols = [f"G{i:03d}" for i in range(120)]
    rows = "".join(f"{name}\tApproved\tgene with protein product\t\t\t\n" for name in symbols)
    (folder / "vocab").mkdir()
    (folder / "train").mkdir()
    (folder / "vocab" / "hgnc_complete_set.txt.gz").write_bytes(gzip.compress((HGNC.splitlines()[0] + "\n" + rows).encode()))
    rate = np.full((80, 120), 0.5)
    rate[:40, :10] = rate[40:, 10:20] = 6.0
    data = anndata.AnnData(
        X=sp.csr_matrix(random.poisson(rate).astype(np.float32)),
        obs=pd.DataFrame({"cell_type": ["b"] * 40 + ["t"] * 40}, index=[str(i) for i in range(80)]),
        var=pd.DataFrame({"ensembl_id": [""] * 120}, index=symbols),
    )
    data.write_h5ad(folder / "train" / "made_up.h5ad")
    config = read_config(MINI)
    stage = {"steps": 2, "tokens_per_batch": 2000, "max_genes": 64}
    return replace(
        config,
        head_size=8,
        model=replace(config.model, hidden_size=16, num_heads=2, intermediate_size=24, max_genes=64),
        vocabulary=replace(config.vocabulary, n_genes=100, min_sets=1, min_cells=1),
        augment=replace(config.augment, panel_smallest=50),
        teacher=replace(config.teacher, augmented_cells=400),
        pretrain=replace(config.pretrain, **stage),
        warm=replace(config.warm, **stage),
        finetune=replace(config.finetune, **stage),
        decode=replace(config.decode, **stage),
        folds=(),
        sets=(replace(config.sets[0], file="made_up.h5ad", labels={"b": ("B",), "t": ("CD4 T",)}),),
    )
