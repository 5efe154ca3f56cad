"""Files of every age and layout to which results are added, and whether they still are what they were.

`make FOLDER` writes them and prints their names; `check OLD NEW…` compares those in a folder with their copies in others that got additions, and opens
these with anndata. `created FOLDER` opens new files.
"""

import sys
import warnings
from pathlib import Path

import anndata
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import scipy.sparse as sp

warnings.simplefilter("ignore")
N, GENES, COLS = 23, 9, 5
NAMES = ["B", "T αβ", "", "never"]


def matrix(n=N):
    c, g = np.mgrid[0:n, 0:GENES]
    return np.where((c + g) % 3 == 0, 0, (7 * c + 3 * g) % 11).astype("f4")


def data(x, n=N, columns=3):
    index = [f"Zelle-{i}-ä" for i in range(n)]
    obs = pd.DataFrame(index=index)
    for j in range(columns):
        obs[f"Größe {j}"] = np.arange(n) * (j + 0.5)
    if columns:
        obs["cell_type"] = pd.Categorical([None if i % 4 == 0 else f"Typ {i % 3}" for i in range(n)])
        obs["ordered"] = pd.Categorical([f"{i % 2}" for i in range(n)], ordered=True)
        obs["maybe_n"] = pd.array([None if i % 5 == 0 else i for i in range(n)], dtype="Int64")
        obs["maybe"] = pd.array([None if i % 5 == 0 else i % 2 == 0 for i in range(n)], dtype="boolean")
        obs["good"] = np.arange(n) % 2 == 0
        obs["text"] = ["" if i % 3 else f"täxt {i}" for i in range(n)]
    var = pd.DataFrame({"gene_ids": [f"ENSG{i:011}" for i in range(GENES)]}, index=[f"G{i}" for i in range(GENES)])
    return anndata.AnnData(X=x, obs=obs, var=var)


def full(x):
    a = data(x)
    a.raw = a.copy()
    a.layers["counts"] = sp.csr_matrix(matrix())
    a.obsm["X_pca"] = np.arange(N * 3, dtype="f8").reshape(N, 3)
    a.obsm["frame"] = pd.DataFrame({"u": np.arange(N)}, index=a.obs_names)
    a.obsp["connectivities"] = sp.eye(N, format="csr")
    a.varm["PCs"] = np.ones((GENES, 2))
    a.uns["log1p"] = {"base": None}
    a.uns["nested"] = {"deep": {"deeper": np.arange(4), "text": "ü"}, "list": ["a", "b"], "n": 3, "f": 0.1, "yes": True}
    a.uns["table"] = pd.DataFrame({"a": [1, 2]})
    a.uns["records"] = np.array([(1, 2.5), (3, 4.5)], dtype=[("n", "i4"), ("f", "f8")])
    return a


def resave(path, to, **options):
    """The same file as another version of the library would write it."""
    with h5py.File(path, "r") as old, h5py.File(to, "w", **options) as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)


def make(folder):
    folder = Path(folder)
    x = matrix()
    full(sp.csr_matrix(x)).write_h5ad(folder / "csr.h5ad")
    full(sp.csc_matrix(x)).write_h5ad(folder / "csc_gzip.h5ad", compression="gzip")
    full(x).write_h5ad(folder / "dense_lzf.h5ad", compression="lzf")
    full(sp.csr_matrix(x)).write_h5ad(folder / "zstd.h5ad", **hdf5plugin.Zstd())
    data(x, columns=0).write_h5ad(folder / "no_columns.h5ad")
    data(x, columns=300).write_h5ad(folder / "many_columns.h5ad")
    data(None, columns=1).write_h5ad(folder / "no_x.h5ad")
    data(matrix(1), n=1).write_h5ad(folder / "one_cell.h5ad")
    many = data(matrix(40), n=40)
    many.write_h5ad(folder / "forty_cells.h5ad")
    for kind, options in {"latest": {"libver": "latest"}, "v108": {"libver": ("v108", "v108")}, "ordered": {"track_order": True}}.items():
        resave(folder / "csr.h5ad", folder / f"{kind}.h5ad", **options)
    resave(folder / "many_columns.h5ad", folder / "many_columns_latest.h5ad", libver="latest")
    # Written by other languages: texts of fixed length, obs without the list of its columns.
    resave(folder / "csr.h5ad", folder / "fixed_texts.h5ad")
    with h5py.File(folder / "fixed_texts.h5ad", "r+") as file:
        order = [name.encode() for name in file["obs"].attrs["column-order"]]
        file["obs"].attrs["column-order"] = np.array(order)
        file["obs"].attrs["_index"] = np.bytes_(b"_index")
    # anndata 0.7: categories apart, no encodings of single arrays, no obsm and no uns.
    with h5py.File(folder / "age_0.7.h5ad", "w") as file:
        file["X"] = x
        for frame, index in [("obs", [f"c{i}" for i in range(N)]), ("var", [f"G{i}" for i in range(GENES)])]:
            file.create_dataset(f"{frame}/_index", data=np.array(index, dtype=object), dtype=h5py.string_dtype())
            file[frame].attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "_index"})
        file["obs/group"] = np.arange(N, dtype="i1") % 2
        kinds = np.array(["T cell", "B cell"], dtype=object)
        file.create_dataset("obs/__categories/group", data=kinds, dtype=h5py.string_dtype())
        file["obs/group"].attrs["categories"] = file["obs/__categories/group"].ref
        file["obs"].attrs["column-order"] = ["group"]
        file["var"].attrs.create("column-order", np.array([], dtype="f8"))
    # Links that are not hard ones, in a group that is written anew.
    resave(folder / "csr.h5ad", folder / "links.h5ad")
    resave(folder / "csr.h5ad", folder / "links_latest.h5ad", libver="latest")
    for name in ["links.h5ad", "links_latest.h5ad"]:
        with h5py.File(folder / name, "r+") as file:
            file["uns/soft"] = h5py.SoftLink("/uns/nested/n")
            file["uns/dangling"] = h5py.SoftLink("/nowhere")
            if name == "links_latest.h5ad":
                file["uns/outside"] = h5py.ExternalLink("other.h5", "/x")
    print(*sorted(path.name for path in folder.glob("*.h5ad")), sep="\n")


def bits(dataset):
    """Everything about a dataset that can be compared."""
    value = dataset[()]
    if isinstance(value, h5py.Empty):
        return "empty"
    if isinstance(value, np.ndarray):
        value = [v.tobytes() if isinstance(v, np.ndarray) else v for v in value.ravel()] if value.dtype.hasobject else value.tobytes()
    return str(dataset.dtype), dataset.shape, dataset.chunks, str(dataset.compression), value


def attributes(item):
    found = {}
    for name, value in item.attrs.items():
        kind = item.attrs.get_id(name).dtype
        if isinstance(value, h5py.Reference):
            value = item.file[value].name
        found[name] = str(kind), value.tolist() if isinstance(value, np.ndarray) else str(value)
    return found


def contents(file):
    found = {}

    def visit(path, group):
        found[path] = "group", attributes(group), list(group)
        for name in group:
            link = group.get(name, getlink=True)
            below = f"{path}/{name}"
            if isinstance(link, h5py.SoftLink):
                found[below] = "soft", link.path
            elif isinstance(link, h5py.ExternalLink):
                found[below] = "external", link.filename, link.path
            elif isinstance(group[name], h5py.Group):
                visit(below, group[name])
            else:
                found[below] = "dataset", attributes(group[name]), bits(group[name])

    visit("", file)
    return found


COLUMNS = ["scdiva_cell_type", "scdiva_confidence", "scdiva_rejected"]
EMBEDDINGS = ["X_scdiva", "X_scdiva_umap"]


def expected(i, kind):
    if kind == "codes":
        return np.where(i % 4 == 1, -1, i % 3)
    if kind == "confidence":
        return np.where(i % 5 == 2, np.float32(np.nan), i.astype("f4") / np.float32(7))
    if kind == "rejected":
        return i % 2 == 1


def check_additions(a):
    i = np.arange(a.n_obs)
    types = a.obs["scdiva_cell_type"]
    assert list(types.cat.categories) == NAMES and not types.cat.ordered
    np.testing.assert_array_equal(types.cat.codes, expected(i, "codes"))
    confidence = a.obs["scdiva_confidence"]
    assert confidence.dtype == "f4"
    np.testing.assert_array_equal(confidence, expected(i, "confidence"))
    assert a.obs["scdiva_rejected"].dtype == bool
    np.testing.assert_array_equal(a.obs["scdiva_rejected"], expected(i, "rejected"))
    for name, cols in zip(EMBEDDINGS, [COLS, 2]):
        assert a.obsm[name].dtype == "f4"
        wanted = np.arange(a.n_obs * cols, dtype="f4").reshape(-1, cols) / np.float32(3)
        np.testing.assert_array_equal(a.obsm[name], wanted)
    run = a.uns["scdiva"]
    assert run["version"] == "0.1.0" and run["genes"]["coverage"] == 0.75 and run["genes"]["matched"] == 12, run
    assert list(run["genes"]["missing"]) == ["Ä", "b"] and list(run["seeds"]) == [1, 2] and run["vote"] == True, run
    assert list(run["shares"]) == [0.5, 1.0] and "nothing" not in run
    assert run["columns"] == dict.fromkeys(COLUMNS, "obs") | dict.fromkeys(EMBEDDINGS, "obsm"), run["columns"]


def check(old_folder, *new_folders):
    for old in sorted(Path(old_folder).glob("*.h5ad")):
        for new in new_folders:
            try:
                check_one(old, Path(new) / old.name)
            except BaseException:
                print(old.name, "in", new)
                raise


def check_one(old_path, new_path):
    with h5py.File(old_path) as file:
        old = contents(file)
    with h5py.File(new_path) as file:
        new = contents(file)
        for table, added in [("obs", COLUMNS), ("obsm", EMBEDDINGS), ("uns", ["scdiva"])]:
            for name in added:
                assert f"/{table}/{name}" in new, name
                for path in [path for path in new if f"{path}/".startswith(f"/{table}/{name}/")]:
                    del new[path]
            kind, attrs, names = new[f"/{table}"]
            if f"/{table}" in old:
                old_names = old[f"/{table}"][2]
                # The order in which h5py lists is that of names, or of making where the file keeps it.
                assert sorted(names) == sorted(old_names + added)
                kept = [name for name in names if name not in added]
                assert kept == old_names, (kept, old_names)
                new[f"/{table}"] = kind, attrs, old_names
            else:
                del new[f"/{table}"]
                new[""][2].remove(table)
        if "column-order" in old["/obs"][1]:
            texts = lambda order: [t.decode() if isinstance(t, bytes) else t for t in order[1]]
            before, after = old["/obs"][1].pop("column-order"), new["/obs"][1].pop("column-order")
            assert texts(after) == texts(before) + COLUMNS, after
    assert sorted(new) == sorted(old), set(new) ^ set(old)
    for path in old:
        assert new[path] == old[path], (path, new[path], old[path])
    # anndata itself does not read dangling links.
    if not old_path.name.startswith("links"):
        opens(new_path)


def opens(path):
    """anndata opens it, whole and backed, and what is changed and saved again is right too."""
    a = anndata.read_h5ad(path)
    check_additions(a)
    check_additions(anndata.read_h5ad(path, backed="r"))
    again = Path(path).with_suffix(".again.h5ad")
    a.obs["later"] = 1
    for key in list(a.uns):
        if key != "scdiva":
            del a.uns[key]
    a.write_h5ad(again, compression="gzip")
    check_additions(anndata.read_h5ad(again))
    # libhdf5 itself changes the groups that were written anew.
    edited = Path(path).with_suffix(".edited.h5ad")
    edited.write_bytes(Path(path).read_bytes())
    with h5py.File(edited, "r+") as file:
        for i in range(12):
            file[f"obs/later {i}"] = np.arange(a.n_obs)
        file["obs"].attrs["note"] = "ü" * 100
        for i in range(0, 12, 2):
            del file[f"obs/later {i}"]
        file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], *[f"later {i}" for i in range(1, 12, 2)]] if "column-order" in file["obs"].attrs else []
        # The root too.
        for i in range(12):
            file.create_group(f"more {i}")
        for i in range(12):
            del file[f"more {i}"]
    check_additions(anndata.read_h5ad(edited))
    again.unlink(), edited.unlink()


def created(folder):
    """New files of the fixtures' counts, and of what the fixtures of columns say of their cells."""
    c, g = np.mgrid[0:12, 0:20]
    x = np.where((c + g) % 3 == 0, 0, (7 * c + 3 * g) % 11)
    x[4, :] = x[:, 7] = 0
    x[11, 19] = 70_000
    cells = [f"cell-{i:02}" for i in range(11)] + ["Zelle-ä"]
    for path in sorted(Path(folder).glob("*.h5ad")):
        a = anndata.read_h5ad(path)
        check_additions(a)
        assert a.X.format == "csr" and a.X.has_canonical_format and a.X.dtype == "f4", path
        np.testing.assert_array_equal(a.X.toarray(), x, str(path))
        assert a.X.nnz == np.count_nonzero(x), (path, a.X.nnz)
        assert list(a.obs_names) == cells and len(set(a.var_names)) == 20, path
        with h5py.File(path) as file:
            assert file["X/data"].compression == "gzip" and file["X/data"].shuffle
        if path.stem.startswith("columns"):
            np.testing.assert_array_equal(a.obs["score"], np.arange(12) / 4)
            np.testing.assert_array_equal(a.obsm["X_umap"], np.arange(24, dtype="f4").reshape(12, 2) / 2)
            group = [None if i % 4 == 0 else "B cell" if i % 3 else "T cell" for i in range(12)]
            assert [None if v is np.nan else v for v in a.obs["group"].astype(object)] == group
            assert list(a.obs["group"].cat.categories)[:2] == ["T cell", "B cell"]
        a.write_h5ad(path.with_suffix(".again"))
        check_additions(anndata.read_h5ad(path.with_suffix(".again")))


def many(path, n):
    """A matrix of many chunks: row i has its values at 2 i mod 1000 and the two genes after it."""
    a = anndata.read_h5ad(path)
    i = np.arange(int(n))
    assert a.X.shape == (int(n), 1000) and a.X.nnz == 3 * int(n)
    np.testing.assert_array_equal(a.X.indptr, 3 * np.arange(int(n) + 1))
    np.testing.assert_array_equal(a.X.indices.reshape(-1, 3), np.sort((2 * i[:, None] + np.arange(3)) % 1000, axis=1))
    np.testing.assert_array_equal(a.X.sum(axis=1).A1 if hasattr(a.X.sum(axis=1), "A1") else a.X.sum(axis=1), 3 * (i % 100 + 1))
    assert list(a.obs_names[[0, -1]]) == ["cell 0", f"cell {int(n) - 1}"]
    with h5py.File(path, "r+") as file:
        # libhdf5 walks the whole tree of chunks when it frees it.
        assert file["X/data"].chunks == (65536,)
        del file["X"]


def theirs(folder):
    """Files whose user chose names like ours."""
    folder = Path(folder)
    for name, change in {
        "column": lambda a: a.obs.__setitem__("scdiva_confidence", 1.0),
        "embedding": lambda a: a.obsm.__setitem__("X_scdiva", np.ones((N, 2))),
        "text": lambda a: a.uns.__setitem__("scdiva", "my notes"),
        "mapping": lambda a: a.uns.__setitem__("scdiva", {"my": "notes"}),
        "listed": lambda a: a.uns.__setitem__("scdiva", {"columns": {"cell_type": "obs", "scdiva_old": "obs", "X_scdiva_old": "obsm"}}),
    }.items():
        a = data(matrix())
        a.obs["scdiva_old"] = 1
        a.obsm["X_scdiva_old"] = np.ones((N, 2))
        change(a)
        a.write_h5ad(folder / f"{name}.h5ad")
    data(matrix()).write_h5ad(folder / "plain.h5ad")
    resave(folder / "plain.h5ad", folder / "paged.h5ad", fs_strategy="page", fs_persist=True)
    for name, options in {"twice.h5ad": {}, "twice_latest.h5ad": {"libver": "latest"}}.items():
        resave(folder / "plain.h5ad", folder / name, **options)
        with h5py.File(folder / name, "r+") as file:
            file["uns/obs"] = file["obs"]
    resave(folder / "plain.h5ad", folder / "elsewhere.h5ad")
    with h5py.File(folder / "elsewhere.h5ad", "r+") as file:
        file.move("obs", "cells")
        file["obs"] = h5py.SoftLink("/cells")


def theirs_stay(folder):
    before, after = [anndata.read_h5ad(Path(folder) / name) for name in ["listed.h5ad", "replaced.h5ad"]]
    check_additions(after)
    kept = [name for name in before.obs if name != "scdiva_old"]
    assert list(after.obs) == kept + COLUMNS and sorted(after.obsm) == EMBEDDINGS
    pd.testing.assert_frame_equal(after.obs[kept], before.obs[kept])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
