// The package in Chromium: a file that stays open, and the examples as a visitor meets them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { demo, root } from "../../pkg/test/command.js";
import { open, picture, stage } from "./browser.js";

const WAIT = { timeout: 240_000 };
const at = stage(undefined, { served: "." });

test("a dropped file is analysed, asked, and saved as an .h5ad that is opened again", async () => {
  const { page, problems, close } = await open(at.browser, new URL("/tests/browser/plain.html", at.origin).href);
  await page.waitForFunction(() => "ScDiVa" in globalThis);
  await page.setInputFiles("#file", demo);
  const found = await page.evaluate(async () => {
    const [file] = document.querySelector("#file").files;
    const scdiva = await globalThis.ScDiVa.load();
    const stages = new Set();
    const analysis = await scdiva.analyse(file, { onProgress: ({ stage }) => stages.add(stage) });
    const { codes, categories } = await analysis.column("simulated_from");
    const groups = await analysis.groupMarkers(codes, categories.length, 3);
    const saved = await analysis.h5ad();
    const again = await scdiva.inspect(saved, { name: "again.h5ad" });
    const answer = {
      stages: [...stages],
      nCells: analysis.cells.length,
      umap: analysis.umap.every(Number.isFinite),
      nk: groups[categories.indexOf("NK")].map(({ gene }) => gene),
      cd74: Array.from((await analysis.gene("CD74")).slice(0, 3)),
      lines: (await (await analysis.csv()).text()).trimEnd().split("\n").length,
      grown: saved.size > file.size,
      again: [again.problem, again.embeddings, again.cellColumns.map(({ name }) => name)],
    };
    analysis.dispose();
    const refused = await analysis.gene("CD74").catch((error) => error.code);
    scdiva.dispose();
    return { ...answer, refused };
  });
  assert.deepEqual(found.stages, ["tissue", "read", "annotate", "neighbours", "clusters", "umap"]);
  assert.deepEqual([found.nCells, found.umap, found.lines, found.grown, found.refused], [240, true, 241, true, "disposed"]);
  assert.deepEqual(found.nk, ["GNLY", "NKG7", "GZMB"]);
  [5.39816284, 3.65126729, 0].forEach((wanted, i) => assert.ok(Math.abs(found.cd74[i] - wanted) < 1e-5));
  const [problem, embeddings, columns] = found.again;
  assert.deepEqual([problem, embeddings], [null, ["X_scdiva", "X_scdiva_umap"]]);
  assert.ok(columns.includes("simulated_from") && columns.includes("scdiva_voted"));
  assert.deepEqual(problems, []);
  await close();
});

test("the example page counts the types of a file", async () => {
  const { page, problems, close } = await open(at.browser, new URL("/examples/page/index.html", at.origin).href);
  await page.waitForFunction(() => /Ready/.test(document.querySelector("#status").textContent), null, WAIT);
  await page.setInputFiles("#file", demo);
  await page.waitForFunction(() => document.querySelector("#status").textContent === "240 cells", null, WAIT);
  const counts = await page.$$eval("#types li", (items) => items.map((item) => Number(item.textContent.split(": ")[1])));
  assert.equal(counts.reduce((a, b) => a + b), 240);
  assert.deepEqual(problems, []);
  await close();
});

test("the React component counts them too, built by Vite", async () => {
  execFileSync("npm", ["run", "build", "--workspace", "scdiva-example-react"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  const { page, problems, close } = await open(at.browser, new URL("/examples/react/dist/index.html", at.origin).href);
  await page.waitForSelector("input:enabled", WAIT);
  await page.setInputFiles("input", join(root, "models/demo/pbmc_simulated.h5ad"));
  await page.waitForSelector("table", WAIT);
  const counts = await page.$$eval("tr", (rows) => rows.map((row) => Number(row.cells[1].textContent)));
  assert.equal(counts.reduce((a, b) => a + b), 240);
  await picture(page, "example-react");
  assert.deepEqual(problems, []);
  await close();
});
