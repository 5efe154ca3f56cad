// Damaged files in wasm: an error that names the file, or an answer, and the next file works; never a panic, which would end the module.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { after, before, test } from "node:test";
import { ScDiVa, ScDiVaError } from "scdiva";
import { demo } from "./command.js";

const nCopies = 400;
const fixtures = new URL("../../tests/fixtures/", import.meta.url);
// The first one's genes are the model's, so that its rows are read and judged too.
const names = [demo, "csr_f32_gzip.h5ad", "small_csc_f4.h5ad", "filters.h5ad", "columns_0.6.h5ad", "tenx_v3.h5", "counts.loom", "cells_by_genes.csv", "genes_by_cells.csv.gz"];

let scdiva;
before(async () => (scdiva = await ScDiVa.load()));
after(() => scdiva.dispose());

/** Numbers that look random, the same in every run. */
function random(seed) {
  let state = seed * 2654435761 + 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % Math.max(n, 1);
  };
}

/** Truncated, with bytes changed, left out or doubled. */
function damaged(whole, below) {
  const bytes = Uint8Array.from(whole);
  const place = below(bytes.length);
  switch (below(4)) {
    case 0:
      return bytes.subarray(0, place);
    case 1:
      for (let i = 0; i <= below(4); i++) bytes[below(bytes.length)] = below(256);
      return bytes;
    case 2:
      bytes.fill([0, 0x7f, 0xff][below(3)], place, place + [1, 2, 4, 8][below(4)]);
      return bytes;
    default:
      bytes.copyWithin(place, below(bytes.length), below(bytes.length));
      return bytes;
  }
}

for (const name of names) {
  const file = `damaged-${basename(name)}`;
  test(`${nCopies} damaged copies of ${basename(name)} give an error or an answer`, { timeout: 120_000 }, async () => {
    const whole = await readFile(name === demo ? demo : new URL(name, fixtures));
    let nAnswers = 0;
    for (let copy = 1; copy <= nCopies; copy++) {
      try {
        await scdiva.inspect(damaged(whole, random(copy)), { name: file });
        nAnswers++;
      } catch (error) {
        assert.ok(error instanceof ScDiVaError, `copy ${copy}: ${error}`);
        assert.ok(["file", "io", "argument"].includes(error.code), `copy ${copy}: ${error.code}: ${error.message}`);
        assert.ok(error.message.startsWith(file), `copy ${copy}: ${error.message}`);
      }
    }
    assert.ok(nAnswers < nCopies, "no copy was refused");
    assert.ok(name !== demo || nAnswers > 0, "every copy was refused");
    assert.equal((await scdiva.inspect(demo)).values.kind, "counts");
  });
}
