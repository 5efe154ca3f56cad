"""annotated_h5ad.py BEFORE AFTER CSV: AFTER is BEFORE (`-` for none) with the answers that CSV holds, as anndata sees them."""

import sys

import anndata
import numpy as np
import pandas as pd

before, after, table = sys.argv[1:]
a = anndata.read_h5ad(after)
csv = pd.read_csv(table, index_col="cell", keep_default_na=False, na_values=[""])
assert list(a.obs_names) == list(csv.index)

names = {
    "label": "scdiva_cell_type",
    "ontology_term_id": "scdiva_cell_type_ontology_term_id",
    "probability": "scdiva_confidence",
    "second_label": "scdiva_second_best",
    "second_probability": "scdiva_second_confidence",
    "entropy": "scdiva_entropy",
    "rejected": "scdiva_rejected",
    "cluster": "scdiva_cluster",
    "voted_label": "scdiva_voted",
    "vote_share": "scdiva_vote_share",
}
assert set(csv.columns) <= set(names)
for short, name in names.items():
    if short not in csv.columns:
        assert name not in a.obs, name
        continue
    ours, theirs = a.obs[name], csv[short]
    assert list(ours.isna()) == list(theirs.isna()), name
    known = theirs.notna()
    if ours.dtype == "float32":
        assert (ours[known] == theirs[known].astype("float32")).all(), name
    elif ours.dtype == bool:
        assert (ours == theirs).all(), name
    else:
        assert isinstance(ours.dtype, pd.CategoricalDtype), name
        assert (ours[known].astype(str) == theirs[known].astype(str)).all(), name

assert a.obsm["X_scdiva"].shape == (a.n_obs, 16) and a.obsm["X_scdiva"].dtype == np.float32
assert np.isfinite(a.obsm["X_scdiva"]).all()
assert a.obsm["X_scdiva_umap"].shape == (a.n_obs, 2)
run = a.uns["scdiva"]
assert run["model"]["hash"] and run["device"].startswith("cpu, ")
assert run["input"]["genes"]["n_matched"] == 20 and "/" not in run["input"]["file"]
assert set(run["columns"]) == {names[short] for short in csv.columns} | {"X_scdiva", "X_scdiva_umap"}

if before != "-":
    b = anndata.read_h5ad(before)
    assert list(a.obs.columns)[: len(b.obs.columns)] == list(b.obs.columns)
    pd.testing.assert_frame_equal(a.obs[list(b.obs.columns)], b.obs)
    pd.testing.assert_frame_equal(a.var, b.var)
    assert (a.X != b.X).nnz == 0
    for key in b.layers:
        assert (a.layers[key] != b.layers[key]).nnz == 0
    for key in b.obsm:
        assert np.array_equal(a.obsm[key], b.obsm[key])
