"""Prints what tests/votes.rs and src/tasks/graph.rs hold as goldens: answers of leidenalg and umap-learn.

    python3 tests/goldens/votes.py    # needs numpy, scipy, scikit-learn, igraph 1.0, leidenalg 0.12, umap-learn 0.5

The cells are those of `cells()` in tests/votes.rs, from the same counter hash.
"""

import igraph
import leidenalg
import numpy as np
import scipy.sparse as sp
import umap
from make import uniform
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors
from umap.umap_ import fuzzy_simplicial_set

N_CELLS, N_COLS, N_TYPES, K = 1200, 16, 12, 15


def signed(name, n):
    return 2.0 * uniform(3, name, n) - 1.0


def cells():
    """Types of unequal sizes that touch each other."""
    centres = signed("centres", N_TYPES * N_COLS).reshape(N_TYPES, N_COLS)
    noise = signed("noise", N_CELLS * N_COLS).reshape(N_CELLS, N_COLS)
    types = np.floor(N_TYPES * uniform(3, "types", N_CELLS) ** 2).astype(int)
    return (centres[types] + noise).astype(np.float32)


def nearest(x, k):
    distances, found = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x.astype(np.float64)).kneighbors()[:2]
    return found[:, :k], distances[:, :k]


def leiden(found):
    n = len(found)
    with_self = np.hstack([np.arange(n)[:, None], found])
    near = sp.csr_matrix((np.ones(with_self.size), (np.repeat(np.arange(n), K + 1), with_self.ravel())), shape=(n, n))
    common = (near @ near.T).multiply((near + near.T) > 0)
    edges = sp.triu(common, 1).tocoo()
    weights = edges.data / (2 * (K + 1) - edges.data)
    graph = igraph.Graph(n=n, edges=list(zip(edges.row.tolist(), edges.col.tolist())))
    for resolution in (0.5, 1.0, 5.0, 20.0):
        qualities = []
        for seed in range(5):
            partition = leidenalg.find_partition(
                graph,
                leidenalg.RBConfigurationVertexPartition,
                weights=weights.tolist(),
                resolution_parameter=resolution,
                seed=seed,
            )
            qualities.append(partition.quality() / (2 * weights.sum()))
        print(f"leidenalg at resolution {resolution}: {np.mean(qualities):.5f} (from {min(qualities):.5f} to {max(qualities):.5f})")


def layout(x, found, distances):
    n = len(found)
    with_self = np.hstack([np.arange(n)[:, None], found]), np.hstack([np.zeros((n, 1)), distances]).astype(np.float32)
    for min_dist in (0.1, 0.5):
        y = umap.UMAP(n_neighbors=K + 1, min_dist=min_dist, init="pca", random_state=0, precomputed_knn=with_self).fit_transform(x)
        kept = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, nearest(y, K)[0])])
        print(f"umap-learn at min_dist {min_dist}: trustworthiness {trustworthiness(x, y, n_neighbors=K):.4f}, neighbours kept {kept:.4f}")


def fuzzy():
    x = np.array([[0.0], [1.0], [1.5], [3.5], [3.5], [8.0]])
    found, distances = nearest(x, 2)
    found, distances = np.hstack([np.arange(6)[:, None], found]), np.hstack([np.zeros((6, 1)), distances])
    graph = fuzzy_simplicial_set(x, 3, np.random.RandomState(0), "euclidean", knn_indices=found, knn_dists=distances.astype(np.float32))[0]
    print("neighbours", found[:, 1:].tolist())
    for i, j, w in sorted(zip(*sp.find(graph))):
        if i < j:
            print(f"fuzzy graph: ({i}, {j}, {w:.4f})")


if __name__ == "__main__":
    x = cells()
    found, distances = nearest(x, K)
    print("first numbers", x[0, :3].tolist(), "neighbours of cell 0", found[0, :3].tolist())
    leiden(found)
    layout(x, found, distances)
    fuzzy()
