#!/usr/bin/env bash
# Fills fuzz/corpus/ from the fixtures of the tests and the embedded model: what each target begins with.
set -euo pipefail
cd "$(dirname "$0")"
fixtures=../tests/fixtures
model=../models/mini
for target in h5ad tenx_h5 loom zarr mtx table zip checkpoint vocabulary journal; do mkdir -p "corpus/$target"; done

cp $fixtures/*.h5ad $fixtures/broken/*.h5ad corpus/h5ad/
cp $fixtures/tenx_*.h5 corpus/tenx_h5/
cp $fixtures/*.loom corpus/loom/
cp $fixtures/*zarr*.zip corpus/zarr/
cp $fixtures/*.csv $fixtures/*.tsv $fixtures/*.gz corpus/table/
head -n 200 $model/vocab.tsv > corpus/vocabulary/mini.tsv

# Several files are one input: the length of each but the last in front of it, four bytes, little-endian.
join() {
  python3 - "$@" <<'PYTHON'
import pathlib, struct, sys
out, *files = sys.argv[1:]
parts = [pathlib.Path(file).read_bytes() for file in files]
heads = [struct.pack("<I", len(part)) + part for part in parts[:-1]]
pathlib.Path(out).write_bytes(b"".join(heads) + parts[-1])
PYTHON
}

triplet=$(mktemp -d)
trap 'rm -r "$triplet"' EXIT
for gene in $(seq 0 19); do printf 'ENSG%011d\tGENE%d\tGene Expression\n' "$gene" "$gene"; done > "$triplet/features.tsv"
for cell in $(seq 1 12); do echo "cell-$cell"; done > "$triplet/barcodes.tsv"
{
  echo '%%MatrixMarket matrix coordinate integer general'
  echo '20 12 60'
  for i in $(seq 0 59); do echo "$((i * 7 % 20 + 1)) $((i / 5 + 1)) $((i % 9 + 1))"; done
} > "$triplet/matrix.mtx"
join corpus/mtx/plain "$triplet/features.tsv" "$triplet/barcodes.tsv" "$triplet/matrix.mtx"
gzip --keep "$triplet"/*
join corpus/mtx/gzip "$triplet/features.tsv.gz" "$triplet/barcodes.tsv.gz" "$triplet/matrix.mtx.gz"
(cd "$triplet" && python3 -m zipfile --create triplet.zip features.tsv barcodes.tsv matrix.mtx.gz)
cp "$triplet/triplet.zip" corpus/zip/
(cd $fixtures && python3 -m zipfile --create "$triplet/table.zip" cells_by_genes.csv)
(cd $fixtures && python3 -m zipfile --create "$triplet/h5ad.zip" small_csr_f4_gzip.h5ad)
cp "$triplet/table.zip" "$triplet/h5ad.zip" corpus/zip/

# Of the model only the header, and a head as it is: their weights are megabytes.
head --bytes 65536 $model/model.safetensors > "$triplet/model.safetensors"
join corpus/checkpoint/mini $model/config.json $model/heads/cell_types.safetensors "$triplet/model.safetensors"

# A run of the demo, as a part.
cargo run --release --manifest-path ../Cargo.toml -- annotate ../models/demo/pbmc_simulated.h5ad --device cpu --shard 1/1 -o corpus/journal/demo
