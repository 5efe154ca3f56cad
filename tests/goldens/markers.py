"""Prints what tests/analysis.rs holds as goldens of markers: scanpy's answers on the demo.

    python3 tests/goldens/markers.py    # needs scanpy 1.11
"""

from pathlib import Path

import numpy as np
import scanpy as sc

GROUPS, N = ["CD4 T", "NK", "Platelet"], 3

demo = sc.read_h5ad(Path(__file__).parents[2] / "models/demo/pbmc_simulated.h5ad")
sc.pp.normalize_total(demo, target_sum=1e4)
sc.pp.log1p(demo)
demo.X = demo.X.astype(np.float64)
sc.tl.rank_genes_groups(demo, "simulated_from", method="t-test", pts=True)
found = demo.uns["rank_genes_groups"]
for group in GROUPS:
    for i in range(N):
        gene = found["names"][group][i]
        numbers = [found["scores"][group][i], found["logfoldchanges"][group][i]]
        numbers += [found["pts"].loc[gene, group], found["pts_rest"].loc[gene, group]]
        print(f'("{group}", "{gene}", [{", ".join(f"{x:.6f}" for x in numbers)}]),')
