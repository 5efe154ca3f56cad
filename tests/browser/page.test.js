// The page in Chromium, with and without WebGPU: from a file to its results, and everything that can come in between.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { annotateNatively, demo, root } from "../../pkg/test/command.js";
import { assertSame } from "../../pkg/test/csv.js";
import { triplet, zarr } from "../../pkg/test/several.js";
import { launch, open, picture, serve } from "./browser.js";
import * as visitor from "./page_support.js";

const { WAIT, annotate, drop, ended, lookedAt, modelReady, savedTable } = visitor;
let server;
let folder;
before(async () => {
  server = await serve("www/dist");
  folder = await mkdtemp(join(tmpdir(), "scdiva-browser-"));
});
after(async () => {
  server.stop();
  await rm(folder, { recursive: true });
});
const smallMatrix = () => visitor.smallMatrix(folder);

describe("without WebGPU", () => {
  let browser;
  before(async () => (browser = await launch({ webgpu: false })));
  after(() => browser.close());

  test("the demo, from the click to the table and the CSV", async () => {
    const { page, requests, problems, close } = await open(browser, server.origin);
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /^Processor: /);
    assert.match(await page.textContent("#device-hint"), /no WebGPU, so the processor computes.*Chrome or Edge/s);
    await picture(page, "start");
    await page.click("#demo");
    await page.waitForFunction(() => /of 240 cells · .* cells\/s · .* left · on the processor/.test(document.querySelector("#progress-text").textContent), null, WAIT);
    await picture(page, "running");
    await ended(page);
    const wanted = annotateNatively(demo);
    const { name, rows } = await savedTable(page);
    assert.equal(name, "pbmc_simulated.scdiva.csv");
    assertSame(rows, wanted);
    const shown = await page.$$eval("#types tbody tr", (lines) => lines.map((line) => Number(line.cells[1].textContent)));
    assert.equal(shown.reduce((a, b) => a + b), wanted.length);
    assert.deepEqual(shown, shown.toSorted((a, b) => b - a));
    assert.match(await page.textContent("#report"), /240 cells × 4,000 genes/);
    assert.match(await page.textContent("#summary"), /240 cells, 8 cell types/);
    await picture(page, "results");
    visitor.assertAllFrom(server.origin, requests);
    assert.deepEqual(problems, []);
    await close();
  });

  test("what was found is shown, with the time it will take, and nothing starts by itself", async () => {
    const { page, problems, close } = await open(browser, server.origin);
    await page.setInputFiles("#file", demo);
    await lookedAt(page);
    assert.match(await page.textContent("#report"), /240 cells × 4,000 genes.*genes found by.*Values: /s);
    assert.equal(await page.textContent("#annotate"), "Annotate 240 cells");
    await page.waitForFunction(() => /^Takes about \d+ s here and about [\d.]+ MB/.test(document.querySelector("#estimate").textContent), null, WAIT);
    assert.ok((await page.isHidden("#results")) && (await page.isHidden("#run")));
    await picture(page, "found");
    await annotate(page);
    assert.ok((await page.isVisible("#results")) && (await page.isVisible("#found")));
    assert.deepEqual(problems, []);
    await close();
  });

  test("bad files are shown as given, and the next file works", async () => {
    const { page, close } = await open(browser, server.origin, { colorScheme: "dark" });
    const bad = join(folder, "words.csv");
    await writeFile(bad, "cell,CD3D,MS4A1\nAAAC,3,many\n");
    await page.setInputFiles("#file", bad);
    await ended(page);
    assert.match(await page.textContent("#error-text"), /words\.csv: .*line 2.*many/s);
    await picture(page, "error-dark");
    await drop(page, await smallMatrix());
    await page.waitForSelector("#error", { state: "hidden", ...WAIT });
    await page.waitForSelector("#annotate:visible", WAIT);
    await page.click("#annotate");
    await page.waitForSelector("#results:not([hidden])", WAIT);
    await picture(page, "results-dark");
    await close();
  });

  test("a file that only calls itself an analysis is refused", async () => {
    const { page, close } = await open(browser, server.origin);
    const bad = join(folder, "other.scdiva");
    await writeFile(bad, "no gzip");
    await page.setInputFiles("#file", bad);
    await ended(page);
    assert.match(await page.textContent("#error-text"), /other\.scdiva: no analysis saved on this page.*wanted/);
    await close();
  });

  test("genes of mouse are refused in words, and taken when the visitor says so", async () => {
    const { page, close } = await open(browser, server.origin);
    const path = await visitor.mouseMatrix(folder);
    await page.setInputFiles("#file", path);
    await ended(page);
    assert.match(await page.textContent("#error-title"), /cannot be annotated as it is/);
    assert.match(await page.textContent("#error-text"), /mouse\.csv: .*genes are of mouse.*choose the species mouse to map/s);
    assert.doesNotMatch(await page.textContent("#error-text"), /--species/);
    assert.match(await page.textContent("#report"), /mouse\.csv: 6 cells × 160 genes/);
    assert.match(await page.textContent("#species option:checked"), /as recognised: mouse/);
    assert.ok(await page.isHidden("#annotate"));
    await picture(page, "refused");
    await page.focus("#species");
    await page.selectOption("#species", "mouse");
    await page.waitForSelector("#annotate:visible", WAIT);
    assert.equal(await page.evaluate(() => document.activeElement.id), "species");
    assert.match(await page.textContent("#report"), /Mouse mapped to human/);
    await annotate(page);
    assert.match(await page.textContent("#methods-text"), /mouse genes, mapped to their one-to-one human orthologs/);
    assertSame((await savedTable(page)).rows, annotateNatively(path, "--species", "mouse"));
    await close();
  });

  test("another matrix of the file is chosen, and what was chosen for one file is not for the next", async () => {
    const { page, close } = await open(browser, server.origin);
    await page.setInputFiles("#file", join(root, "tests/fixtures/scaled_beside_counts.h5ad"));
    await lookedAt(page);
    const names = await page.$$eval("#layer option", (options) => options.map((option) => option.value));
    assert.ok(names.length > 1 && (await page.isVisible("#layer")), names.join());
    const other = names.find((name) => name !== "layers/counts");
    assert.notEqual(await page.inputValue("#layer"), other);
    await page.selectOption("#layer", other);
    await page.waitForFunction((name) => document.querySelector("#report").textContent.includes(`read from ${name}`), other, WAIT);
    assert.equal(await page.inputValue("#layer"), other);
    await page.setInputFiles("#file", await smallMatrix());
    await page.waitForFunction(() => document.querySelector("#report").textContent.includes("small.csv"), null, WAIT);
    assert.ok((await page.isHidden("#layer")) && (await page.isHidden("#min-counts")));
    await close();
  });

  test("where genes have several names, the column of them is chosen", async () => {
    const { page, close } = await open(browser, server.origin);
    const lines = (await readFile(join(root, "models/mini/vocab.tsv"), "utf8")).split("\n").slice(1, 101).map((line) => line.split("\t"));
    const files = triplet(["a", "b"], lines.map(([, symbol]) => symbol), [0, 1].map((cell) => lines.map((_, i) => 1 + ((i + cell) % 3))));
    // Half of the ids mean nothing, so that the choice can be seen.
    files["features.tsv"] = lines.map(([, symbol, id], i) => `${i % 2 ? id : `X${i}`}\t${symbol}\tGene Expression\n`).join("");
    await page.setInputFiles("#folder", await visitor.writeAll(folder, "named_twice", files));
    await lookedAt(page);
    const options = () => page.$$eval("#gene-column option", (all) => all.map((option) => option.textContent));
    assert.deepEqual(await options(), ["all columns", "gene_ids (names of several kinds)", "gene_symbols (symbols)"]);
    await page.selectOption("#gene-column", { index: 2 });
    await page.waitForFunction(() => /100 of the model’s .* found by “gene_symbols”/.test(document.querySelector("#report").textContent), null, WAIT);
    await annotate(page);
    assert.match(await page.textContent("#report"), /100 of the model’s/);
    await close();
  });

  test("empty droplets are left out, and the least counts can be changed", async () => {
    const { page, close } = await open(browser, server.origin);
    const { genes } = await visitor.smallCounts();
    const counts = (each) => genes.map((_, i) => (i < 100 ? each : 0));
    const raw = Array.from({ length: 5060 }, (_, i) => (i < 60 ? counts(20 + i) : genes.map((_, j) => (j === i % 160 ? 3 : 0))));
    const path = await visitor.table(join(folder, "raw.csv"), genes, { cells: raw.map((_, i) => `cell_${i}`), rows: raw });
    await page.setInputFiles("#file", path);
    await lookedAt(page);
    assert.match(await page.textContent("#report"), /raw\.csv: 60 cells .*5,000 of 5,060 barcodes, those with fewer than \d+ counts, were left out/s);
    assert.match(await page.textContent("#found-summary"), /5,000 empty droplets left out/);
    assert.ok(Number(await page.inputValue("#min-counts")) > 3);
    // By the width that the model has, 128: weights twice, and 1,364 bytes a cell.
    await page.fill("#min-counts", "0");
    await page.press("#min-counts", "Enter");
    await page.waitForFunction(() => /about 150 MB of memory/.test(document.querySelector("#estimate").textContent), null, WAIT);
    await page.fill("#min-counts", "7700");
    await page.press("#min-counts", "Enter");
    await page.waitForFunction(() => /raw\.csv: 3 cells/.test(document.querySelector("#report").textContent), null, WAIT);
    await annotate(page);
    assertSame((await savedTable(page)).rows, annotateNatively(path, "--min-counts", "7700"));
    // Typed, and the button pressed at once: the run uses it.
    await page.click("#found-details summary");
    await page.fill("#min-counts", "6000");
    await page.click("#annotate");
    await page.waitForFunction(() => /^(?!3 )\d+ cells, /.test(document.querySelector("#summary")?.textContent), null, WAIT);
    const rows = annotateNatively(path, "--min-counts", "6000");
    assertSame((await savedTable(page)).rows, rows);
    assert.match(await page.textContent("#report"), new RegExp(`raw\\.csv: ${rows.length} cells`));
    assert.ok((await page.isHidden("#run")) && (await page.isEnabled("#species")));
    await page.click("#found-details summary");
    await page.fill("#min-counts", "50000");
    await page.press("#min-counts", "Enter");
    await page.waitForSelector("#error:not([hidden])", WAIT);
    assert.match(await page.textContent("#error-text"), /raw\.csv: .*50000|50,000/);
    assert.ok(await page.isVisible("#min-counts"));
    await close();
  });

  test("several files, and folders, are one matrix: dropped and chosen", async () => {
    const { page, close } = await open(browser, server.origin);
    const { cells, genes, rows } = await visitor.smallCounts();
    const tenx = await visitor.writeAll(folder, "tenx", triplet(cells, genes, rows));
    const store = await visitor.writeAll(folder, "small.zarr", zarr(cells, genes, rows));
    const wanted = annotateNatively(tenx);
    const files = ["matrix.mtx", "features.tsv", "barcodes.tsv"].map((name) => join(tenx, name));
    const ways = [
      ["matrix.mtx: ", "matrix", () => drop(page, ...files)],
      ["tenx: ", "tenx", () => drop(page, tenx)],
      ["small.zarr: ", "small", () => drop(page, store)],
      ["matrix.mtx: ", "matrix", () => page.setInputFiles("#file", files)],
      ["small.zarr: ", "small", () => page.setInputFiles("#folder", store)],
    ];
    for (const [says, stem, hand] of ways) {
      await hand();
      await page.waitForFunction((says) => document.querySelector("#report").textContent.startsWith(says), says, WAIT);
      await annotate(page);
      const { name, rows } = await savedTable(page);
      assert.equal(name, `${stem}.scdiva.csv`);
      assertSame(rows, wanted);
    }
    await drop(page, files[0], files[1]);
    await page.waitForSelector("#error:not([hidden])", WAIT);
    assert.match(await page.textContent("#error-text"), /matrix\.mtx: .*no barcodes\.tsv beside it/);
    await close();
  });

  test("a run is cancelled, can be started again, and the next file works", async () => {
    const { page, close } = await open(browser, server.origin);
    await modelReady(page);
    await page.click("#demo");
    await page.waitForFunction(() => /cells\/s · .* left/.test(document.querySelector("#progress-text").textContent), null, WAIT);
    await page.click("#cancel");
    await page.waitForSelector("#run", { state: "hidden", ...WAIT });
    assert.ok((await page.isHidden("#results")) && (await page.isHidden("#error")) && (await page.isVisible("#annotate")));
    assert.match(await page.textContent("#estimate"), /Cancelled/);
    assert.equal(await page.evaluate(() => document.activeElement.id), "annotate");
    await page.setInputFiles("#file", await smallMatrix());
    await page.waitForFunction(() => document.querySelector("#report").textContent.includes("small.csv"), null, WAIT);
    await annotate(page);
    await close();
  });

  test("a run is cancelled, and goes on where it ended", async () => {
    const { page, close } = await open(browser, server.origin);
    await modelReady(page);
    await drop(page, await visitor.smallMatrix(folder, 700));
    await page.waitForSelector("#annotate:visible", WAIT);
    await page.click("#annotate");
    // The first block is whole, and the second is under way.
    await page.waitForFunction(() => /^([3-6]\d\d) of 700 cells · .* left/.test(document.querySelector("#progress-text").textContent), null, { ...WAIT, polling: 10 });
    await page.click("#cancel");
    await page.waitForFunction(() => /^(256|512) of 700 cells are annotated and kept/.test(document.querySelector("#estimate").textContent), null, WAIT);
    assert.equal(await page.textContent("#annotate"), "Go on");
    await picture(page, "cancelled");
    const said = await page.evaluateHandle(() => {
      const said = [];
      new MutationObserver(() => said.push(document.querySelector("#progress-text").textContent)).observe(document.querySelector("#progress-text"), { childList: true, characterData: true, subtree: true });
      return said;
    });
    await page.click("#annotate");
    await page.waitForSelector("#results:not([hidden])", WAIT);
    const first = (await said.jsonValue()).find((text) => /of 700 cells/.test(text) && !/tissue/.test(text) && !text.startsWith("700"));
    assert.match(first, /^(256|512) of 700 cells/);
    assert.match(await page.textContent("#status"), /700 cells annotated/);
    await close();
  });

  test("a second file while one is annotated is asked about", async () => {
    const { page, close } = await open(browser, server.origin);
    await modelReady(page);
    await page.click("#demo");
    await page.waitForSelector("#run:not([hidden])", WAIT);
    const other = await smallMatrix();
    await page.setInputFiles("#file", other);
    await page.waitForSelector("#busy[open]", WAIT);
    assert.match(await page.textContent("#busy-text"), /pbmc_simulated\.h5ad is still being annotated.*small\.csv/);
    await page.click("#busy-stay");
    assert.ok(await page.isVisible("#run"));
    await page.setInputFiles("#file", other);
    await page.waitForSelector("#busy[open]", WAIT);
    await page.click("#busy-switch");
    await page.waitForFunction(() => document.querySelector("#report").textContent.includes("small.csv"), null, WAIT);
    await annotate(page);
    assert.equal(await page.textContent("#results-title"), "small.csv");
    await close();
  });

  test("asked for the graphics card, it says that there is none", async () => {
    const { page, close } = await open(browser, `${server.origin}?device=gpu`);
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /cannot be used/);
    assert.match(await page.textContent("#device-hint"), /no WebGPU adapter/);
    await page.click("#device-short");
    await page.selectOption("#device-choice", "cpu");
    await page.waitForFunction(() => /^Processor/.test(document.querySelector("#device-name").textContent), null, WAIT);
    assert.match(page.url(), /device=cpu/);
    await close();
  });
});

describe("with WebGPU", () => {
  let browser;
  before(async () => (browser = await launch({ webgpu: true })));
  after(() => browser.close());

  test("a software adapter is passed over, and said", async () => {
    const { page, close } = await open(browser, server.origin);
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /^Processor: /);
    assert.match(await page.textContent("#device-hint"), /in software only, so the processor computes/);
    await close();
  });

  test("forced, it computes the command's answer on WebGPU", async () => {
    const { page, requests, problems, close } = await open(browser, `${server.origin}?device=gpu`);
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /^Software WebGPU adapter/);
    const path = await smallMatrix();
    await page.setInputFiles("#file", path);
    await annotate(page);
    assertSame((await savedTable(page)).rows, annotateNatively(path));
    visitor.assertAllFrom(server.origin, requests);
    assert.deepEqual(problems, []);
    await close();
  });
});
