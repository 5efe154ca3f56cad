// node annotate.mjs INPUT [OUT.csv]: cell types of a count matrix, as CSV. Nothing leaves this machine.

import { writeFile } from "node:fs/promises";
import { ScDiVa, ScDiVaError } from "scdiva";

const [input, out] = process.argv.slice(2);
if (!input) {
  console.error("usage: node annotate.mjs INPUT [OUT.csv]");
  process.exit(2);
}

const scdiva = await ScDiVa.load();
try {
  const annotation = await scdiva.annotate(input, {
    onProgress: ({ nDone, nCells, cellsPerSecond }) =>
      process.stderr.write(`\r${nDone} of ${nCells} cells, ${Math.round(cellsPerSecond)} a second `),
  });
  process.stderr.write("\n");
  const csv = await annotation.csv.text();
  if (out) await writeFile(out, csv);
  else process.stdout.write(csv);
} catch (error) {
  if (!(error instanceof ScDiVaError)) throw error;
  console.error(`\n${error.code}: ${error.message}`);
  process.exitCode = 1;
} finally {
  scdiva.dispose();
}
