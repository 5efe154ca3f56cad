// Small matrices: a table; one of several files, as a 10x triplet and as a Zarr store of AnnData, by the names of their files.

import { readFile } from "node:fs/promises";

/** A CSV of so many cells of three genes, quick to annotate. */
export function table(n) {
  const rows = Array.from({ length: n }, (_, i) => `c${i},${1 + (i % 3)},${i % 2},1\n`);
  return Buffer.from(`cell,CD3D,MS4A1,NKG7\n${rows.join("")}`);
}

/** A CSV of 600 cells that have each of 6,000 genes of the model in `root`, all read at once: more than 60 MiB of memory hold. */
export async function wideTable(root) {
  const vocabulary = await readFile(`${root}models/mini/vocab.tsv`, "utf8");
  const genes = vocabulary.split("\n").slice(1, 6001).map((line) => line.split("\t")[1]);
  const rows = Array.from({ length: 600 }, (_, cell) => `c${cell},${genes.map((_, i) => 1 + ((cell + i) % 9)).join(",")}`);
  return [`cell,${genes.join(",")}`, ...rows].join("\n");
}

/** `rows[i][j]`: the counts of gene j in cell i. */
export function triplet(cells, genes, rows) {
  const entries = rows.flatMap((row, i) => row.map((count, j) => [j + 1, i + 1, count]).filter(([, , count]) => count > 0));
  const lines = [`${genes.length} ${cells.length} ${entries.length}`, ...entries.map((entry) => entry.join(" "))];
  return {
    "matrix.mtx": `%%MatrixMarket matrix coordinate integer general\n${lines.join("\n")}\n`,
    "features.tsv": genes.map((gene) => `${gene}\t${gene}\tGene Expression\n`).join(""),
    "barcodes.tsv": cells.map((cell) => `${cell}\n`).join(""),
  };
}

/** The same as a store of format 2, of uncompressed chunks. */
export function zarr(cells, genes, rows) {
  const json = (value) => Buffer.from(JSON.stringify(value));
  const group = { zarr_format: 2 };
  const array = (shape, dtype, filters) =>
    json({ zarr_format: 2, shape, chunks: shape, dtype, compressor: null, fill_value: 0, order: "C", filters, dimension_separator: "." });
  const names = (folder, texts) => ({
    [`${folder}/.zgroup`]: json(group),
    [`${folder}/.zattrs`]: json({ "encoding-type": "dataframe", "encoding-version": "0.2.0", _index: "_index", "column-order": [] }),
    [`${folder}/_index/.zarray`]: array([texts.length], "|O", [{ id: "vlen-utf8" }]),
    [`${folder}/_index/.zattrs`]: json({ "encoding-type": "string-array", "encoding-version": "0.2.0" }),
    [`${folder}/_index/0`]: Buffer.concat([uint32(texts.length), ...texts.flatMap((text) => [uint32(Buffer.byteLength(text)), Buffer.from(text)])]),
  });
  return {
    ".zgroup": json(group),
    ".zattrs": json({ "encoding-type": "anndata", "encoding-version": "0.1.0" }),
    ...names("obs", cells),
    ...names("var", genes),
    "X/.zarray": array([cells.length, genes.length], "<f4", null),
    "X/.zattrs": json({ "encoding-type": "array", "encoding-version": "0.2.0" }),
    "X/0.0": Buffer.from(Float32Array.from(rows.flat()).buffer),
  };
}

function uint32(n) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(n);
  return bytes;
}
