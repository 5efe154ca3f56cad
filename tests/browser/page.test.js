// Walks the page in Chromium as a visitor does, with WebGPU (a software adapter) and without, and records every request.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { annotateNatively, demo, root } from "../../pkg/test/command.js";
import { assertSame, parse } from "../../pkg/test/csv.js";
import { triplet, zarr } from "../../pkg/test/several.js";
import { launch, open, picture, serve } from "./browser.js";

const WAIT = { timeout: 240_000 };
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

/** A few cells of few genes: software adapters are slow. */
async function smallCounts() {
  const vocabulary = (await readFile(`${root}models/mini/vocab.tsv`, "utf8")).split("\n").slice(1, 161).map((line) => line.split("\t"));
  let state = 1;
  const count = () => {
    state = (state * 48271) % 2147483647;
    return state % 5 === 0 ? 1 + (state % 7) : 0;
  };
  const rows = Array.from({ length: 6 }, () => vocabulary.map(count));
  return { cells: rows.map((_, i) => `cell_${i}`), genes: vocabulary.map(([, symbol]) => symbol), rows };
}

async function table(name, genes, { cells, rows }) {
  const path = join(folder, name);
  await writeFile(path, [["cell", ...genes].join(","), ...rows.map((row, i) => [cells[i], ...row].join(","))].join("\n"));
  return path;
}

async function smallMatrix() {
  const counts = await smallCounts();
  return table("small.csv", counts.genes, counts);
}

/** The same by the first symbols of the table of orthologs. */
async function mouseMatrix() {
  const orthologs = gunzipSync(await readFile(`${root}models/mini/orthologs_mouse.tsv.gz`)).toString();
  return table("mouse.csv", orthologs.split("\n").slice(1, 161).map((line) => line.split("\t")[1]), await smallCounts());
}

async function writeAll(name, files) {
  for (const [file, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name, file)), { recursive: true });
    await writeFile(join(folder, name, file), content);
  }
  return join(folder, name);
}

const modelReady = (page) =>
  page.waitForFunction(() => !document.querySelector("#device-name").textContent.startsWith("Getting"), null, WAIT);
const ended = (page) => page.waitForSelector("#results:not([hidden]), #error:not([hidden])", WAIT);

async function savedTable(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  return { name: download.suggestedFilename(), rows: parse(await readFile(await download.path(), "utf8")) };
}

/** Drops files or folders on the page as a hand would. */
async function drop(page, ...files) {
  const session = await page.context().newCDPSession(page);
  await page.locator("#drop").scrollIntoViewIfNeeded();
  const { x, y, width, height } = await page.locator("#drop").boundingBox();
  const data = { items: [], files, dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data });
  await session.detach();
}

function assertAllFrom(origin, requests) {
  assert.ok(requests.some((address) => address.endsWith(".wasm")), "requests of the worker are recorded");
  for (const address of requests) {
    assert.ok(address.startsWith(origin) || address.startsWith("blob:") || address.startsWith("data:"), `left the origin: ${address}`);
  }
}

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
    await ended(page);
    const wanted = annotateNatively(demo);
    const { name, rows } = await savedTable(page);
    assert.equal(name, "pbmc_simulated.scdiva.csv");
    assertSame(rows, wanted);
    const shown = await page.$$eval("#types tbody tr", (lines) => lines.map((line) => Number(line.cells[1].textContent)));
    assert.equal(shown.reduce((a, b) => a + b), wanted.length);
    assert.deepEqual(shown, shown.toSorted((a, b) => b - a));
    assert.equal(await page.locator("#cells tbody tr").count(), 10);
    assert.match(await page.textContent("#report"), /240 cells × 4,000 genes/);
    await picture(page, "results");
    assertAllFrom(server.origin, requests);
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
    await page.waitForSelector("#results:not([hidden])", WAIT);
    assert.ok(await page.isHidden("#error"));
    await picture(page, "results-dark");
    await close();
  });

  test("what was found is shown before the results", async () => {
    const { page, problems, close } = await open(browser, server.origin);
    await modelReady(page);
    await page.click("#demo");
    await page.waitForSelector("#found:not([hidden])", WAIT);
    assert.ok((await page.isHidden("#results")) && (await page.isVisible("#run")));
    assert.match(await page.textContent("#report"), /240 cells × 4,000 genes.*genes found by.*Values: /s);
    await ended(page);
    assert.ok((await page.isVisible("#results")) && (await page.isVisible("#found")));
    assert.deepEqual(problems, []);
    await close();
  });

  test("genes of mouse are refused in words, and taken when the visitor says so", async () => {
    const { page, close } = await open(browser, server.origin);
    const path = await mouseMatrix();
    await page.setInputFiles("#file", path);
    await ended(page);
    assert.match(await page.textContent("#error-title"), /cannot be annotated as it is/);
    assert.match(await page.textContent("#error-text"), /mouse\.csv: .*genes are of mouse.*choose the species mouse to map/s);
    assert.doesNotMatch(await page.textContent("#error-text"), /--species/);
    assert.match(await page.textContent("#report"), /mouse\.csv: 6 cells × 160 genes/);
    assert.match(await page.textContent("#species option:checked"), /as recognised: mouse/);
    await picture(page, "refused");
    await page.focus("#species");
    await page.selectOption("#species", "mouse");
    await page.waitForSelector("#results:not([hidden])", WAIT);
    assert.ok(await page.isHidden("#error"));
    assert.match(await page.textContent("#report"), /Mouse mapped to human/);
    assert.match(await page.textContent("#results-status"), /annotated again/);
    assert.equal(await page.evaluate(() => document.activeElement.id), "species");
    assertSame((await savedTable(page)).rows, annotateNatively(path, "--species", "mouse"));
    await picture(page, "mouse");
    await close();
  });

  test("another matrix of the file is chosen, and what was chosen for one file is not for the next", async () => {
    const { page, close } = await open(browser, server.origin);
    await page.setInputFiles("#file", join(root, "tests/fixtures/scaled_beside_counts.h5ad"));
    await ended(page);
    const names = await page.$$eval("#layer option", (options) => options.map((option) => option.value));
    assert.ok(names.length > 1 && (await page.isVisible("#layer")), names.join());
    const other = names.find((name) => name !== "layers/counts");
    assert.notEqual(await page.inputValue("#layer"), other);
    await page.selectOption("#layer", other);
    await page.waitForFunction((name) => document.querySelector("#report").textContent.includes(`read from ${name}`), other, WAIT);
    assert.equal(await page.inputValue("#layer"), other);
    await page.waitForSelector("#run", { state: "hidden", ...WAIT });
    await page.setInputFiles("#file", await smallMatrix());
    await page.waitForSelector("#results:not([hidden])", WAIT);
    assert.ok((await page.isHidden("#layer")) && (await page.isHidden("#min-counts")));
    await close();
  });

  test("empty droplets are left out, and the least counts can be changed", async () => {
    const { page, close } = await open(browser, server.origin);
    const { genes } = await smallCounts();
    const counts = (each) => genes.map((_, i) => (i < 100 ? each : 0));
    const rows = Array.from({ length: 5060 }, (_, i) => (i < 60 ? counts(20 + i) : genes.map((_, j) => (j === i % 160 ? 3 : 0))));
    const path = await table("raw.csv", genes, { cells: rows.map((_, i) => `cell_${i}`), rows });
    await page.setInputFiles("#file", path);
    await ended(page);
    assert.match(await page.textContent("#report"), /raw\.csv: 60 cells .*5,000 of 5,060 barcodes, those with fewer than \d+ counts, were left out/s);
    assert.ok(Number(await page.inputValue("#min-counts")) > 3);
    await picture(page, "droplets");
    await page.fill("#min-counts", "7700");
    await page.press("#min-counts", "Enter");
    await page.waitForFunction(() => /raw\.csv: 3 cells/.test(document.querySelector("#report").textContent), null, WAIT);
    await page.waitForSelector("#results:not([hidden])", WAIT);
    assertSame((await savedTable(page)).rows, annotateNatively(path, "--min-counts", "7700"));
    await page.fill("#min-counts", "50000");
    await page.press("#min-counts", "Enter");
    await page.waitForSelector("#error:not([hidden])", WAIT);
    assert.match(await page.textContent("#error-text"), /raw\.csv: .*50000|50,000/);
    assert.ok(await page.isVisible("#min-counts"));
    await close();
  });

  test("several files, and folders, are one matrix: dropped and chosen", async () => {
    const { page, close } = await open(browser, server.origin);
    const { cells, genes, rows } = await smallCounts();
    const [tenx, store] = [await writeAll("tenx", triplet(cells, genes, rows)), await writeAll("small.zarr", zarr(cells, genes, rows))];
    const wanted = annotateNatively(tenx);
    const files = ["matrix.mtx", "features.tsv", "barcodes.tsv"].map((name) => join(tenx, name));
    const ways = [
      ["matrix.mtx: ", "matrix", () => drop(page, ...files)],
      ["tenx: ", "tenx", () => drop(page, tenx)],
      ["small.zarr: ", "small", () => drop(page, store)],
      ["matrix.mtx: ", "matrix", () => page.setInputFiles("#file", files)],
      ["small.zarr: ", "small", () => page.setInputFiles("#folder", store)],
    ];
    for (const [says, saved, hand] of ways) {
      await hand();
      await page.waitForFunction((says) => document.querySelector("#report").textContent.startsWith(says), says, WAIT);
      await ended(page);
      assert.equal(await page.textContent("#error-text"), "");
      const { name, rows } = await savedTable(page);
      assert.equal(name, `${saved}.scdiva.csv`);
      assertSame(rows, wanted);
    }
    await drop(page, files[0], files[1]);
    await page.waitForSelector("#error:not([hidden])", WAIT);
    assert.match(await page.textContent("#error-text"), /matrix\.mtx: .*no barcodes\.tsv beside it/);
    await close();
  });

  test("a run is cancelled, and the next one works", async () => {
    const { page, close } = await open(browser, server.origin);
    await modelReady(page);
    await page.click("#demo");
    await page.waitForFunction(() => /cells\/s · .* left/.test(document.querySelector("#progress-text").textContent), null, WAIT);
    await picture(page, "running");
    await page.click("#cancel");
    await page.waitForSelector("#run", { state: "hidden", ...WAIT });
    assert.ok((await page.isHidden("#results")) && (await page.isHidden("#error")));
    await page.setInputFiles("#file", await smallMatrix());
    await ended(page);
    assert.ok(await page.isVisible("#results"));
    await close();
  });

  test("asked for the graphics card, it says that there is none", async () => {
    const { page, close } = await open(browser, `${server.origin}?device=gpu`);
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /cannot be used/);
    assert.match(await page.textContent("#device-hint"), /no WebGPU adapter/);
    await page.selectOption("#device-choice", "cpu");
    await page.waitForFunction(() => /^Processor/.test(document.querySelector("#device-name").textContent), null, WAIT);
    assert.match(page.url(), /device=cpu/);
    await close();
  });

  test("works at the width of a phone", async () => {
    const { page, close } = await open(browser, server.origin, { viewport: { width: 375, height: 740 } });
    await page.setInputFiles("#file", await smallMatrix());
    await ended(page);
    await picture(page, "phone");
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} px too wide`);
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
    await ended(page);
    assert.equal(await page.textContent("#error-text"), "");
    assertSame((await savedTable(page)).rows, annotateNatively(path));
    await picture(page, "webgpu");
    assertAllFrom(server.origin, requests);
    assert.deepEqual(problems, []);
    await close();
  });
});
