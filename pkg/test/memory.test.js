// What happens where there is less memory than a matrix needs: V8 is told to give the module no more.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { demo, root } from "./command.js";
import { wideTable } from "./several.js";

/** What comes of annotating each file where the module gets so many MiB: numbers of cells, or codes and texts of errors. */
async function annotate(mib, ...files) {
  const script = fileURLToPath(new URL("annotate_all.js", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [`--wasm-max-mem-pages=${mib * 16}`, script, ...files]);
  return JSON.parse(stdout);
}

test("a matrix that needs more memory than there is is an error of its own, and the next one is annotated", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "scdiva-"));
  t.after(() => rm(folder, { recursive: true }));
  const wide = join(folder, "wide.csv");
  await writeFile(wide, await wideTable(root));
  const [first, second] = await annotate(36, wide, demo);
  assert.equal(first[0], "memory", String(first));
  assert.equal(second, 240);
});

test("a model that does not fit says so", async () => {
  const [load] = await annotate(8, demo);
  assert.equal(load[0], "memory", String(load));
});
