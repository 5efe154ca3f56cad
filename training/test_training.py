"""The laws that the exported files rest on, on data made up here."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from training.cells import Augmenter, Tokenizer
from training.config import Config, read_config
from training.genes import GeneTable, Vocabulary, read_hgnc, read_vocabulary

MINI = Path(__file__).with_name("mini.toml")
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
    config = _tiny(tmp_path)
    from training.export import export
    from training.finetune import finetune
    from training.prepare import prepare
    from training.pretrain import pretrain

    run = tmp_path / "run"
    prepare(config, tmp_path, run)
    pretrain(config, run)
    finetune(config, run)
    export(config, run, tmp_path / "model")
    written = {path.name for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert written == {"config.json", "model.safetensors", "vocab.tsv", "cell_types.safetensors"}


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
        pretrain=replace(config.pretrain, **stage),
        warm=replace(config.warm, **stage),
        finetune=replace(config.finetune, **stage),
        decode=replace(config.decode, **stage),
        sets=(replace(config.sets[0], file="made_up.h5ad", labels={"b": ("B",), "t": ("CD4 T",)}),),
    )
