"""Writes a simulated count matrix: simulate.py OUT.h5ad VOCABULARY.tsv CELLS GENES_PER_CELL

One block of cells is drawn and compressed once, and the file holds it as often as it takes, chunk for chunk: what is read and computed is as much
as for a matrix without repetitions, and the file is there in seconds.
"""

import sys
import zlib

import h5py
import numpy as np

BLOCK = 1_000


def main(path: str, vocabulary: str, n_cells: int, n_expressed: int) -> None:
    with open(vocabulary, encoding="utf-8") as lines:
        header = next(lines).rstrip("\n").split("\t")
        symbol = header.index("symbol")
        genes = [row[symbol] for row in (line.rstrip("\n").split("\t") for line in lines) if row[symbol]]
    genes = [gene for gene in genes if not gene.startswith("<")]
    rng = np.random.default_rng(1)
    indices = np.stack([np.sort(rng.choice(len(genes), n_expressed, replace=False)) for _ in range(BLOCK)])
    indices = indices.astype(np.int32).ravel()
    values = rng.geometric(0.4, indices.size).astype(np.float32)
    n_blocks = -(-n_cells // BLOCK)
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, len(genes)]})
        for name, block in (("indices", indices), ("data", values)):
            size = n_cells * n_expressed
            data = x.create_dataset(name, (size,), block.dtype, chunks=(block.size,), compression="gzip", compression_opts=4)
            packed = zlib.compress(block.tobytes(), 4)
            for at in range(n_blocks):
                data.id.write_direct_chunk((at * block.size,), packed)
        x["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * n_expressed
        for name, index in (("obs", np.arange(n_cells).astype("S")), ("var", np.array(genes, dtype="S"))):
            group = file.create_group(name)
            group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
            group.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
            group.create_dataset("_index", data=index.astype(object), dtype=h5py.string_dtype(), chunks=True, compression="gzip")
            group["_index"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
