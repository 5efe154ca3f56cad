"""annotated_parquet.py PARQUET CSV: both hold the same table, as pandas sees them."""

import sys

import pandas as pd

parquet, table = sys.argv[1:]
p = pd.read_parquet(parquet)
csv = pd.read_csv(table, keep_default_na=False, na_values=[""])
assert list(p.columns) == list(csv.columns), (list(p.columns), list(csv.columns))
assert {"umap_1", "umap_2", "vote_share", "entropy"} <= set(p.columns)
for name in p.columns:
    assert list(p[name].isna()) == list(csv[name].isna()), name
    known = csv[name].notna()
    if p[name].dtype == "float32":
        assert (p[name][known] == csv[name][known].astype("float32")).all(), name
    else:
        assert (p[name][known].astype(str) == csv[name][known].astype(str)).all(), name
assert str(p["label"].dtype) == "category"
