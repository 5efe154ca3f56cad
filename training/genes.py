"""Gene names: the HGNC table, the vocabulary chosen from it, and the matching of a file's genes to either."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .model import FIRST_GENE, N_CLOSING


@dataclass
class GeneTable:
    """Genes with every name by which a file may call them. Index = position in the lists."""

    symbols: list[str]
    ensembl_ids: list[str]
    aliases: list[tuple[str, ...]]
    _by_ensembl: dict[str, int] = field(init=False, repr=False)
    _by_symbol: dict[str, int] = field(init=False, repr=False)
    _by_alias: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._by_ensembl = {name: i for i, name in enumerate(self.ensembl_ids) if name}
        self._by_symbol = {name: i for i, name in enumerate(self.symbols)}
        self._by_alias = {name: i for i, names in enumerate(self.aliases) for name in names}

    def match(self, symbols: list[str], ensembl_ids: list[str]) -> np.ndarray:
        """The index of each of a file's genes, -1 where none: by Ensembl id, else by symbol, else by alias."""
        found = np.full(len(symbols), -1, dtype=np.int64)
        for i, (symbol, ensembl_id) in enumerate(zip(symbols, ensembl_ids, strict=True)):
            for table, name in (
                (self._by_ensembl, ensembl_id.split(".")[0]),
                (self._by_symbol, symbol),
                (self._by_alias, symbol),
            ):
                if name in table:
                    found[i] = table[name]
                    break
        return found


@dataclass
class Vocabulary(GeneTable):
    """The model's genes. Token id = index + 2: 0 is padding, 1 the unused mask id; three ids close the table."""

    entropies: np.ndarray

    @property
    def size(self) -> int:
        """V: the rows of the embedding."""
        return FIRST_GENE + len(self.symbols) + N_CLOSING

    def write(self, path: Path) -> None:
        """Write `vocab.tsv`."""
        with path.open("w", newline="\n") as file:
            file.write("id\tsymbol\tensembl_id\tentropy\taliases\n")
            rows = zip(self.symbols, self.ensembl_ids, self.entropies, self.aliases, strict=True)
            for i, (symbol, ensembl_id, entropy, aliases) in enumerate(rows):
                file.write(f"{i + FIRST_GENE}\t{symbol}\t{ensembl_id}\t{entropy:.6f}\t{'|'.join(aliases)}\n")


def read_vocabulary(path: Path) -> Vocabulary:
    """Read `vocab.tsv`; the ids must count up from the first gene."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for i, row in enumerate(rows):
        if int(row["id"]) != i + FIRST_GENE:
            raise ValueError(f"{path}: line {i + 2}: id is {row['id']}, expected {i + FIRST_GENE}")
    return Vocabulary(
        symbols=[row["symbol"] for row in rows],
        ensembl_ids=[row["ensembl_id"] for row in rows],
        aliases=[tuple(row["aliases"].split("|")) if row["aliases"] else () for row in rows],
        entropies=np.array([float(row["entropy"]) for row in rows]),
    )


def read_hgnc(path: Path, locus_types: tuple[str, ...]) -> tuple[GeneTable, np.ndarray]:
    """All approved HGNC genes, and which of them are of the wanted locus types.

    Other names are kept where they mean one gene only: a previous symbol goes before an alias (it once was the gene's
    name), and a name that is some gene's approved symbol today is never another's alias.
    """
    with gzip.open(path, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["status"] == "Approved"]
    symbols = [row["symbol"] for row in rows]
    previous = [_names(row["prev_symbol"]) for row in rows]
    other = [_names(row["alias_symbol"]) for row in rows]
    n_previous = Counter(name for names in previous for name in set(names))
    n_other = Counter(name for names in other for name in set(names))
    approved = set(symbols)

    aliases: list[tuple[str, ...]] = []
    for names, more in zip(previous, other, strict=True):
        kept = {name: None for name in names if n_previous[name] == 1 and name not in approved}
        kept |= {name: None for name in more if n_other[name] == 1 and name not in n_previous and name not in approved}
        aliases.append(tuple(kept))

    n_ensembl = Counter(row["ensembl_gene_id"] for row in rows)
    ensembl_ids = [row["ensembl_gene_id"] if n_ensembl[row["ensembl_gene_id"]] == 1 else "" for row in rows]
    wanted = np.array([row["locus_type"] in locus_types for row in rows])
    return GeneTable(symbols, ensembl_ids, aliases), wanted


def _names(cell: str) -> list[str]:
    return [name for name in (part.strip() for part in cell.strip('"').split("|")) if name and "\t" not in name]
