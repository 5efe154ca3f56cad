// Several files that are a matrix each: annotated one after another, each with its own results, and one table of all.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { demo, inspectNatively } from "../../pkg/test/command.js";
import { triplet } from "../../pkg/test/several.js";
import { open, picture, stage } from "./browser.js";
import { annotate, drop, ended, findings, lookedAt, modelReady, saved, savedTable, smallCounts, smallMatrix, table, WAIT, writeAll } from "./page_support.js";

const at = stage();

test("several matrices are samples, each with its results, and one table of all", async () => {
  const { page, problems, close } = await open(at.browser, at.origin);
  await modelReady(page);
  const counts = await smallCounts(9);
  const [first, second] = [await smallMatrix(at.folder), await table(join(at.folder, "other.csv"), counts.genes, counts)];
  await drop(page, first, second);
  await lookedAt(page);
  assert.match(await page.textContent("#samples-text"), /^2 samples/);
  assert.ok(await page.isDisabled("#samples-save"));
  await page.click("#samples-all");
  await page.waitForFunction(() => document.querySelectorAll("#samples-list button").length === 2 && [...document.querySelectorAll("#samples-list button")].every((made) => made.textContent.startsWith("✓ ") && !made.disabled), null, WAIT);
  assert.equal(await page.textContent("#results-title"), "other.csv");
  await picture(page, "samples");
  assert.deepEqual(await findings(page), []);
  const leastProbability = async (value, says) => {
    await page.$eval(
      "#threshold",
      (slider, value) => {
        slider.value = value;
        slider.dispatchEvent(new Event("input"));
      },
      value,
    );
    await page.waitForFunction((says) => document.querySelector("#threshold-text").textContent.includes(says), says, WAIT);
  };
  await leastProbability("1", ": 9 of 9");

  await page.click("#samples-list button:first-child");
  await page.waitForFunction(() => document.querySelector("#results-title")?.textContent === "small.csv", null, WAIT);
  assert.match(await page.textContent("#report"), /small\.csv: 6 cells/);
  assert.equal((await savedTable(page)).rows.length, 6);
  await leastProbability("0", ": 0 of 6");
  await page.click("#samples-list button:last-child");
  await page.waitForFunction(() => document.querySelector("#results-title")?.textContent === "other.csv", null, WAIT);
  assert.equal(await page.inputValue("#threshold"), "1");

  const all = await saved(page, "#samples-save");
  assert.equal(all.name, "samples.scdiva.csv");
  const [header, ...rows] = (await readFile(all.path, "utf8")).trimEnd().split("\n").map((line) => line.split(","));
  assert.deepEqual(header.slice(0, 3), ["sample", "cell", "label"]);
  assert.deepEqual(rows.map(([sample]) => sample), [...Array(6).fill("small.csv"), ...Array(9).fill("other.csv")]);
  // Each with the threshold that was chosen for it.
  assert.ok(rows.slice(6).every(([, , label]) => label === "unassigned") && rows.slice(0, 6).every(([, , label]) => label !== "unassigned"));
  assert.deepEqual(problems, []);

  await page.setInputFiles("#file", first);
  await page.waitForSelector("#samples", { state: "hidden", ...WAIT });
  await annotate(page);
  await close();
});

test("samples are looked at together, in one map and one table", async () => {
  const { page, problems, close } = await open(at.browser, at.origin);
  await modelReady(page);
  const counts = await smallCounts(9);
  const files = [await smallMatrix(at.folder), await table(join(at.folder, "other.csv"), counts.genes, counts)];
  await page.setInputFiles("#file", files);
  await annotate(page);
  const alone = (await savedTable(page)).rows;
  await page.click("#samples-together");
  await page.waitForFunction(() => document.querySelector("#found-summary").textContent.includes("15"), null, WAIT);
  await annotate(page);
  assert.equal(await page.textContent("#results-title"), "2 samples");
  assert.equal(await page.textContent("#samples-together"), "✓ All together, in one map");
  assert.match(await page.textContent("#report"), /cells of each sample: small\.csv 6, other\.csv 9/);
  assert.equal(await page.inputValue("#composition-by"), "sample");
  await page.selectOption("#colour-by", "column:sample");
  await page.waitForFunction(() => /small\.csv/.test(document.querySelector(".legend").textContent), null, WAIT);
  await picture(page, "samples-together");
  assert.deepEqual(await findings(page), []);
  const { rows } = await savedTable(page);
  assert.deepEqual(rows.slice(0, 6).map(({ cell }) => cell), alone.map(({ cell }) => `${cell}-small.csv`));
  // A cell's answer does not depend on the others.
  rows.slice(0, 6).forEach(({ label, probability }, i) => {
    assert.equal(label, alone[i].label);
    assert.ok(Math.abs(probability - alone[i].probability) < 1e-5);
  });
  const h5ad = await saved(page, "#save-h5ad");
  assert.equal(JSON.parse(inspectNatively(h5ad.path)).n_cells, 15);
  await page.click("#samples-list button:first-child");
  await page.waitForFunction(() => document.querySelector("#results-title")?.textContent === "small.csv", null, WAIT);
  assert.deepEqual(problems, []);

  const logs = join(at.folder, "logs.csv");
  const lines = counts.rows.map((row, i) => [`cell_${i}`, ...row.map((n) => (n === 0 ? 0 : Math.log1p((10_000 * n) / row.reduce((a, b) => a + b)).toFixed(4)))].join(","));
  await writeFile(logs, [["cell", ...counts.genes].join(","), ...lines].join("\n"));
  await page.setInputFiles("#file", [files[0], logs]);
  await lookedAt(page);
  await page.click("#samples-together");
  await page.waitForSelector("#error:not([hidden])", WAIT);
  assert.match(await page.textContent("#error-text"), /logs\.csv: .*log-normalised values, .*but .* of small\.csv holds counts/);
  await close();
});

test("a sample that cannot be annotated says why, and the others can", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  const bad = join(at.folder, "bad.csv");
  await writeFile(bad, "cell,CD3D,MS4A1\nAAAC,3,many\n");
  await page.setInputFiles("#file", [bad, await smallMatrix(at.folder)]);
  await page.waitForSelector("#error:not([hidden])", WAIT);
  await page.click("#samples-all");
  await page.waitForSelector("#samples-all:not([disabled])", WAIT);
  assert.match(await page.textContent("#error-text"), /bad\.csv: .*many/);
  await page.click("#samples-list button:last-child");
  await annotate(page);
  assert.equal(await page.textContent("#results-title"), "small.csv");
  await page.waitForFunction(() => document.querySelector("#samples-list button:last-child").textContent === "✓ small.csv", null, WAIT);
  assert.match(await page.textContent("#samples-save"), /One table of those annotated/);
  await close();
});

test("triplets, folders and files are told apart as samples, and what is no matrix is named", async () => {
  const { page, problems, close } = await open(at.browser, at.origin);
  await modelReady(page);
  const ofCells = async (n) => {
    const { cells, genes, rows } = await smallCounts(n);
    return triplet(cells, genes, rows);
  };
  const prefixed = (prefix, files) => Object.fromEntries(Object.entries(files).map(([name, content]) => [`${prefix}${name}`, content]));
  const [six, nine] = [await ofCells(6), await ofCells(9)];
  const geo = await writeAll(at.folder, "geo", { ...prefixed("GSM1_a_", six), ...prefixed("GSM2_b_", nine), "notes.png": "-" });
  const two = await writeAll(at.folder, "two", { ...prefixed("s1/filtered/", six), ...prefixed("s2/filtered/", nine), "s1/metadata.csv": "cell,batch\n" });
  const csv = await readFile(await smallMatrix(at.folder));
  const tables = await writeAll(at.folder, "tables", { "a.csv": csv, "b.csv": csv });
  const names = Object.keys({ ...prefixed("GSM1_a_", six), ...prefixed("GSM2_b_", nine) }).map((name) => join(geo, name));
  const ways = [
    [["GSM1_a", "GSM2_b"], "", () => page.setInputFiles("#file", names)],
    [["GSM1_a", "GSM2_b"], "notes.png", () => page.setInputFiles("#folder", geo)],
    [["GSM1_a", "GSM2_b"], "notes.png", () => drop(page, geo)],
    [["s1/filtered", "s2/filtered"], "s1/metadata.csv", () => drop(page, two)],
    [["two/s1/filtered", "two/s2/filtered", "geo/GSM1_a", "geo/GSM2_b"].map((path) => (path.startsWith("two") ? path : path.slice(4))), "two/s1/metadata.csv, geo/notes.png", () => drop(page, two, geo)],
    [["a.csv", "b.csv"], "", () => page.setInputFiles("#folder", tables)],
  ];
  for (const [wanted, ignored, hand] of ways) {
    await hand();
    await page.waitForFunction((wanted) => [...document.querySelectorAll("#samples-list button")].map((made) => made.textContent).sort().join() === wanted, wanted.toSorted().join(), WAIT);
    await lookedAt(page);
    assert.ok(await page.isHidden("#error"), await page.textContent("#error-text"));
    if (ignored === "") assert.ok(await page.isHidden("#ignored"));
    else assert.equal((await page.textContent("#ignored")).match(/: (.*)\.$/)[1].split(", ").sort().join(", "), ignored.split(", ").sort().join(", "));
  }
  await drop(page, geo);
  await page.waitForSelector("#ignored:not([hidden])", WAIT);
  await lookedAt(page);
  await picture(page, "samples-triplets");
  await page.click("#samples-all");
  await page.waitForFunction(() => [...document.querySelectorAll("#samples-list button")].every((made) => made.textContent.startsWith("✓ ") && !made.disabled), null, WAIT);
  await page.click("#samples-together");
  await page.waitForFunction(() => /^15 cells/.test(document.querySelector("#found-summary").textContent), null, WAIT);
  await saved(page, "#samples-save");

  // Of one name, from two folders; and what is opened by itself.
  const again = { name: "same.csv", mimeType: "", buffer: csv };
  await page.setInputFiles("#file", [again, { ...again, buffer: await readFile(await table(join(at.folder, "nine.csv"), (await smallCounts(9)).genes, await smallCounts(9))) }, { ...again, name: "old.scdiva" }]);
  await page.waitForFunction(() => document.querySelectorAll("#samples-list button").length === 2, null, WAIT);
  assert.deepEqual(await page.$$eval("#samples-list button", (all) => all.map((made) => made.textContent)), ["same.csv", "same (2).csv"]);
  assert.match(await page.textContent("#ignored"), /^Not opened, being no matrix or part of one: old\.scdiva\. An analysis \(\.scdiva\) is opened by itself\.$/);
  await page.setInputFiles("#file", ["matrix.mtx", "features.tsv", "barcodes.tsv", "matrix.mtx"].map((name) => ({ name, mimeType: "", buffer: Buffer.from(six[name]) })));
  await page.waitForSelector("#error:not([hidden])", WAIT);
  assert.match(await page.textContent("#error-text"), /^matrix\.mtx: given twice, and which files belong together cannot be told; wanted the folder of each$/);
  assert.deepEqual(problems, []);
  await close();
});

test("the columns that can be learned are those of the sample on the page", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.setInputFiles("#file", [await smallMatrix(at.folder), demo]);
  const offered = async (sample) => {
    await page.click(`#samples-list button:nth-child(${sample})`);
    await page.waitForFunction((sample) => document.querySelector("#report").textContent.startsWith(sample === 1 ? "small.csv" : "pbmc_simulated"), sample, WAIT);
    await lookedAt(page);
    return (await page.isVisible("#reference")) && (await page.$$eval("#reference-column option", (all) => all.map(({ value }) => value)));
  };
  for (const sample of [1, 2, 1, 2]) assert.deepEqual(await offered(sample), sample === 1 ? false : ["simulated_from"]);
  await close();
});

test("cancelled, the samples that are annotated stay, and the rest can go on", async () => {
  const { page, problems, close } = await open(at.browser, at.origin, { colorScheme: "dark", viewport: { width: 390, height: 740 } });
  await modelReady(page);
  await page.setInputFiles("#file", [await smallMatrix(at.folder), demo]);
  await lookedAt(page);
  await page.click("#samples-all");
  await page.waitForFunction(() => /Annotating pbmc_simulated/.test(document.querySelector("#run-title").textContent) && /cells\/s/.test(document.querySelector("#progress-text").textContent), null, WAIT);
  assert.ok(await page.isDisabled("#samples-list button:first-child"));
  await page.click("#cancel");
  const names = () => page.$$eval("#samples-list button", (all) => all.map((made) => made.textContent));
  assert.deepEqual(await names(), ["✓ small.csv", "pbmc_simulated.h5ad"]);
  await picture(page, "samples-phone-dark");
  await page.click("#samples-list button:first-child");
  await page.waitForFunction(() => document.querySelector("#results-title")?.textContent === "small.csv", null, WAIT);
  assert.equal((await savedTable(page)).rows.length, 6);
  await page.click("#samples-all");
  await page.waitForFunction(() => document.querySelector("#results-title")?.textContent === "pbmc_simulated.h5ad", null, WAIT);
  await ended(page);
  assert.deepEqual(await names(), ["✓ small.csv", "✓ pbmc_simulated.h5ad"]);
  assert.deepEqual(problems, []);
  await close();
});
