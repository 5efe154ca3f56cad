"""Whether tables of results are what tests/write_tables.rs wrote."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

N, COLS = 1000, 5
NAMES = ["B", 'T αβ, "late"\tor\nnot', "never"]


def check(folder):
    i = np.arange(N)
    cells = [f'Zelle,{k}-"ä"' for k in i]
    types = [None if k % 4 == 1 else NAMES[int(k % 3 == 0)] for k in i]
    f = (i + 1).astype("f4")
    numbers = np.select([i % 7 == 0, i % 7 == 1, i % 7 == 2], [np.float32(np.nan), np.float32(1e-38) / f, np.float32(-3.4e38) / f], i.astype("f4") / np.float32(7))
    columns = ["cell", "scdiva_cell_type", "scdiva_confidence", "scdiva_rejected"]
    for name, delimiter in [("table.csv", ","), ("table.tsv", "\t")]:
        table = pd.read_csv(folder / name, sep=delimiter, dtype={"scdiva_confidence": "f4"})
        assert list(table) == columns
        assert list(table["cell"]) == cells
        assert [None if v is np.nan else v for v in table["scdiva_cell_type"]] == types
        # pandas makes zero of what is below the normal numbers, so that the texts themselves are asked.
        texts = pd.read_csv(folder / name, sep=delimiter, dtype=str)["scdiva_confidence"]
        np.testing.assert_array_equal(texts.astype("f8").astype("f4"), numbers)
        assert max(texts.dropna().str.len()) <= 15, max(texts.dropna(), key=len)
        np.testing.assert_allclose(table["scdiva_confidence"], numbers, rtol=0, atol=1.2e-38)
        assert table["scdiva_rejected"].dtype == bool and list(table["scdiva_rejected"]) == list(i % 2 == 1)
    for name in ["table.parquet", "embedding.parquet"]:
        schema = pq.read_schema(folder / name)
        assert schema.field("scdiva_cell_type").type == pa.dictionary(pa.int32(), pa.string()), schema
        table = pd.read_parquet(folder / name)
        assert list(table)[:4] == columns
        assert list(table["cell"]) == cells
        assert set(table["scdiva_cell_type"].cat.categories) == set(NAMES[:2])
        assert [None if v is np.nan else v for v in table["scdiva_cell_type"].astype(object)] == types
        assert table["scdiva_confidence"].dtype == "f4"
        np.testing.assert_array_equal(table["scdiva_confidence"], numbers)
        assert pq.read_table(folder / name)["scdiva_confidence"].null_count == np.isnan(numbers).sum()
        assert table["scdiva_rejected"].dtype == bool and list(table["scdiva_rejected"]) == list(i % 2 == 1)
    column = pq.read_table(folder / "embedding.parquet")["X_scdiva"].combine_chunks()
    assert column.type == pa.list_(pa.field("item", pa.float32(), nullable=False), COLS), column.type
    np.testing.assert_array_equal(column.flatten().to_numpy(), np.arange(N * COLS, dtype="f4") / np.float32(3))
    assert pq.ParquetFile(folder / "table.parquet").metadata.row_group(0).column(2).compression == "SNAPPY"
    for table in [pd.read_csv(folder / "empty.csv"), pd.read_parquet(folder / "empty.parquet")]:
        assert list(table) == ["cell"] and len(table) == 0


def groups(path):
    metadata = pq.ParquetFile(path).metadata
    print(metadata.num_rows, "in", "2 or more" if metadata.num_row_groups > 1 else "1")


if __name__ == "__main__":
    groups(sys.argv[2]) if sys.argv[1] == "groups" else check(Path(sys.argv[1]))
