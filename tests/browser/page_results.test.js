// What can be done with the results: colours, lasso, threshold, figures, exports; and an analysis opened again.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { demo, root } from "../../pkg/test/command.js";
import { open, picture, stage } from "./browser.js";
import { annotate, ended, lookedAt, modelReady, saved, savedTable, WAIT } from "./page_support.js";

const PYTHON = join(root, "target/python/bin/python");
/** The page with the demo's results, which the tests share. */
let page;
let problems;
const at = stage(async (at) => {
  ({ page, problems } = await open(at.browser, at.origin, { viewport: { width: 1280, height: 900 } }));
  await modelReady(page);
  await page.click("#demo");
  await ended(page);
  await page.waitForSelector("#markers-table", WAIT);
});

const legendTitle = () => page.textContent(".map-side h4");
const legendCounts = () => page.$$eval(".legend-item .number", (items) => items.map((item) => Number(item.textContent)));

test("the map is coloured by label, numbers, a column, and a typed gene", async () => {
  await page.waitForSelector(".legend-item", WAIT);
  assert.equal(await legendTitle(), "Cell type");
  assert.equal((await legendCounts()).reduce((a, b) => a + b), 240);
  for (const [by, title] of [["probability", /Probability/], ["mitochondrial", /Mitochondrial share/], ["cluster", /Cluster/], ["column:simulated_from", /simulated_from/]]) {
    await page.selectOption("#colour-by", by);
    await page.waitForFunction((title) => new RegExp(title).test(document.querySelector(".map-side h4").textContent), title.source, WAIT);
    assert.equal(await page.inputValue("#colour-by"), by);
  }
  await page.fill("#gene", "ms4a1");
  await page.press("#gene", "Enter");
  await page.waitForFunction(() => /MS4A1, log-normalised/.test(document.querySelector(".map-side h4").textContent), null, WAIT);
  assert.equal(await page.textContent("#colour-by option:checked"), "gene MS4A1");
  await picture(page, "gene");
  await page.fill("#gene", "NOSUCHGENE");
  await page.press("#gene", "Enter");
  assert.match(await page.$eval("#gene", (input) => input.validationMessage), /NOSUCHGENE: no gene of this file/);
  assert.equal(await legendTitle(), "MS4A1, log-normalised");
  await page.fill("#gene", "");
  await page.press("#gene", "Enter");
  await page.waitForSelector(".legend-item", WAIT);
  assert.equal(await page.inputValue("#colour-by"), "label");
  assert.equal(await page.locator("#colour-by option", { hasText: /^gene / }).count(), 0);
});

test("what was asked for last is shown, also where an earlier answer comes after it", async () => {
  await page.evaluate(() => {
    const set = (id, value) => Object.assign(document.querySelector(id), { value }).dispatchEvent(new Event("change"));
    // The worker has to read the gene; the probability is there.
    set("#gene", "LYZ");
    set("#colour-by", "probability");
  });
  // The worker answers in order: after this the gene is read.
  await page.selectOption("#colour-by", "column:simulated_from");
  await page.selectOption("#colour-by", "probability");
  await saved(page, "#save");
  assert.match(await legendTitle(), /^Probability/);
  assert.equal(await page.inputValue("#colour-by"), "probability");
  await page.selectOption("#colour-by", "label");
  await page.waitForSelector(".legend-item", WAIT);
});

test("a click in the legend hides a type, and another shows it again", async () => {
  const item = page.locator(".legend-item").first();
  await item.click();
  assert.equal(await item.getAttribute("aria-pressed"), "false");
  const group = await item.getAttribute("data-group");
  assert.ok(await page.isHidden(`.map-names [data-group="${group}"]`));
  await item.click();
  assert.equal(await item.getAttribute("aria-pressed"), "true");
});

test("a lasso counts what it holds, and finds what sets it apart", async () => {
  const { x, y, width, height } = await page.locator(".map-stage").boundingBox();
  const draw = async (corners) => {
    await page.click("#lasso");
    await page.mouse.move(...corners[0]);
    await page.mouse.down();
    for (const corner of corners.slice(1)) await page.mouse.move(...corner, { steps: 4 });
    await page.mouse.up();
  };
  const [left, right, top, bottom] = [x + 2, x + width - 2, y + 2, y + height - 2];
  await draw([[left, top], [right, top], [right, bottom], [left, bottom]]);
  assert.match(await page.textContent("#selection h4"), /^240 cells selected/);
  await page.locator(".map-names [data-group]", { hasText: /^NK$/ }).evaluate((name) => name.getBoundingClientRect()).then(async (box) => {
    const [cx, cy] = [box.x + box.width / 2, box.y + box.height / 2];
    // A name may stand at the edge of the map.
    const within = (least, at, most) => Math.min(Math.max(at, least), most);
    const [west, east] = [within(left, cx - 40, right), within(left, cx + 40, right)];
    const [north, south] = [within(top, cy - 40, bottom), within(top, cy + 40, bottom)];
    await draw([[west, north], [east, north], [east, south], [west, south]]);
  });
  assert.match(await page.textContent("#selection-types"), /^NK \d+ \(\d+ %\)/);
  await page.waitForSelector("#selection-markers .gene-chip", WAIT);
  const genes = await page.$$eval("#selection-markers .gene-chip", (chips) => chips.map((chip) => chip.textContent));
  assert.ok(genes.includes("NKG7") || genes.includes("GNLY"), genes.join());
  await picture(page, "lasso");
  await page.click("text=Clear selection");
  assert.ok(await page.isHidden("#selection"));
});

test("the threshold leaves cells unassigned, in counts, table and CSV alike", async () => {
  await page.$eval("#threshold", (slider) => {
    slider.value = "0.97";
    slider.dispatchEvent(new Event("input"));
  });
  await page.waitForFunction(() => /^97 %: [1-9]\d* of 240 cells unassigned/.test(document.querySelector("#threshold-text").textContent), null, WAIT);
  const said = Number((await page.textContent("#threshold-text")).match(/: (\d+) of/)[1]);
  const { rows } = await savedTable(page);
  assert.equal(rows.filter(({ label }) => label === "unassigned").length, said);
  assert.equal(rows.filter(({ probability }) => probability < 0.97).length, said);
  assert.match(await page.textContent("#types tbody"), new RegExp(`unassigned${said}`));
  assert.match(await page.textContent("#methods-text"), /below 0\.97 were left unassigned/);
  await page.selectOption("#labelling", "voted");
  await page.waitForFunction(() => /without a vote/.test(document.querySelector("#threshold-text").textContent), null, WAIT);
  await page.selectOption("#labelling", "own");
  await page.$eval("#threshold", (slider) => {
    slider.value = "0";
    slider.dispatchEvent(new Event("input"));
  });
  await page.waitForFunction(() => /: 0 of 240/.test(document.querySelector("#threshold-text").textContent), null, WAIT);
});

test("genes found stand beside genes expected, and figures say what they show", async () => {
  const row = await page.locator("#markers-table tbody tr", { hasText: /^NK/ }).textContent();
  assert.match(row, /NKG7.*KLRD1/);
  assert.ok((await page.locator("#markers-table .gene-chip.known").count()) > 8);
  const figures = await page.$$eval(".figure-drawing svg", (drawings) => drawings.map((drawing) => drawing.getAttribute("aria-label")));
  assert.deepEqual(figures.map((says) => says.split(":")[0]), [
    "Dot plot",
    "Share of each cell type by simulated_from",
    "Genes seen in a cell",
    "Counts of a cell",
    "Mitochondrial share",
  ]);
  const link = page.locator("#types a.id").first();
  assert.match(await link.getAttribute("href"), /^https:\/\/www\.ebi\.ac\.uk\/ols4\/.*CL%3A\d{7}$/);
  assert.equal(await link.getAttribute("rel"), "noreferrer");
});

test("every figure is saved as PNG and as SVG", async () => {
  for (const [button, name] of [["#save-map-png", "umap.png"], ["#markers .save-figure button:nth-of-type(1)", "markers.png"], ["#composition .save-figure button:nth-of-type(1)", "composition.png"]]) {
    const file = await saved(page, button);
    assert.equal(file.name, `pbmc_simulated.${name}`);
    const bytes = await readFile(file.path);
    assert.equal(bytes.subarray(1, 4).toString(), "PNG");
    assert.ok(bytes.readUInt32BE(16) > 1000 && bytes.length > 5000, `${name}: ${bytes.readUInt32BE(16)} wide, ${bytes.length} bytes`);
  }
  for (const [button, wanted] of [["#save-map-svg", /CD14 Mono.*240 cells of/s], ["#markers .save-figure button:nth-of-type(2)", /NKG7/]]) {
    const text = await readFile((await saved(page, button)).path, "utf8");
    assert.ok(text.startsWith("<svg ") && text.includes('xmlns="http://www.w3.org/2000/svg"') && wanted.test(text), `${button}: ${text.slice(0, 200)}`);
    const isWhole = await page.evaluate((text) => !new DOMParser().parseFromString(text, "image/svg+xml").querySelector("parsererror"), text);
    assert.ok(isWhole);
  }
});

test("anndata opens the saved .h5ad and finds the table's answers in it", async () => {
  assert.ok(existsSync(PYTHON), "no Python environment: cargo xtask test setup");
  const table = await saved(page, "#save");
  const file = await saved(page, "#save-h5ad");
  assert.equal(file.name, "pbmc_simulated.scdiva.h5ad");
  const program = [
    "import sys, anndata, pandas as pd",
    "before, after, csv = anndata.read_h5ad(sys.argv[1]), anndata.read_h5ad(sys.argv[2]), pd.read_csv(sys.argv[3], index_col='cell')",
    "assert list(after.obs_names) == list(csv.index) and after.shape == before.shape",
    "assert (after.X != before.X).sum() == 0 and list(after.obs['simulated_from']) == list(before.obs['simulated_from'])",
    "assert list(after.obs['scdiva_cell_type'].astype(str)) == list(csv['label'])",
    "assert abs(after.obs['scdiva_confidence'] - csv['probability']).max() < 1e-6",
    "assert after.obsm['X_scdiva_umap'].shape == (240, 2)",
  ].join("\n");
  execFileSync(PYTHON, ["-c", program, demo, file.path, table.path], { stdio: ["ignore", "inherit", "inherit"] });
});

test("the saved .h5ad opens again, and its own map and groups can be used", async () => {
  const file = await saved(page, "#save-h5ad");
  const other = await open(at.browser, at.origin);
  await other.page.setInputFiles("#file", { name: "again.h5ad", mimeType: "", buffer: await readFile(file.path) });
  await lookedAt(other.page);
  await other.page.selectOption("#groups", "scdiva_cell_type");
  await annotate(other.page);
  assert.match(await other.page.textContent("#methods-text"), /Cells of each value of scdiva_cell_type \(8 groups\) voted/);
  await other.page.waitForSelector(".legend-item", WAIT);
  const where = () => other.page.$eval('.map-names [data-group="0"]', (name) => name.style.transform);
  const before = await where();
  await other.page.selectOption("#layout", "X_scdiva_umap");
  assert.equal(await other.page.inputValue("#layout"), "X_scdiva_umap");
  await other.page.waitForTimeout(2000);
  assert.equal(await where(), before, "the file's map is the one computed before, and the same computation gives it again");
  await other.page.selectOption("#colour-by", "column:simulated_from");
  await other.page.waitForFunction(() => document.querySelector(".map-side h4").textContent === "simulated_from", null, WAIT);
  assert.deepEqual(other.problems, []);
  await other.close();
});

test("the analysis is saved as one file and opened again, without the matrix", async () => {
  await page.selectOption("#labelling", "voted");
  await page.click("text=Compare with these labels");
  await page.waitForSelector("#markers-table", WAIT);
  await page.fill("#gene", "ms4a1");
  await page.press("#gene", "Enter");
  await page.waitForFunction(() => /MS4A1, log-normalised/.test(document.querySelector(".map-side h4").textContent), null, WAIT);
  const file = await saved(page, "#save-study");
  assert.equal(file.name, "pbmc_simulated.scdiva");
  const types = await page.$eval("#types tbody", (body) => body.textContent);
  const methods = await page.textContent("#methods-text");
  const other = await open(at.browser, at.origin);
  await other.page.setInputFiles("#file", { name: file.name, mimeType: "", buffer: await readFile(file.path) });
  await ended(other.page);
  assert.equal(await other.page.textContent("#results-title"), "pbmc_simulated.h5ad");
  assert.equal(await other.page.$eval("#types tbody", (body) => body.textContent), types);
  assert.equal(await other.page.textContent("#methods-text"), methods);
  await other.page.waitForSelector("#markers-table", WAIT);
  // It stands as it was saved, and says so.
  assert.equal(await other.page.inputValue("#labelling"), "voted");
  assert.equal(await other.page.textContent("#colour-by option:checked"), "gene MS4A1");
  assert.equal(await other.page.inputValue("#gene"), "MS4A1");
  await other.page.selectOption("#colour-by", "label");
  await other.page.waitForSelector(".legend-item", WAIT);
  // The gene that was asked for before was kept; another needs the matrix.
  await other.page.fill("#gene", "MS4A1");
  await other.page.press("#gene", "Enter");
  await other.page.waitForFunction(() => /MS4A1/.test(document.querySelector(".map-side h4").textContent), null, WAIT);
  await other.page.fill("#gene", "CD3E");
  await other.page.press("#gene", "Enter");
  assert.match(await other.page.$eval("#gene", (input) => input.validationMessage), /not among the genes kept/);
  assert.ok(await other.page.isDisabled("#save-h5ad"));
  assert.match(await other.page.textContent("#take-home"), /open it again/);
  await picture(other.page, "reopened");
  await other.close();
});

/** A saved analysis with other words in it, and a column of as many values as are asked for. */
function changed(file, nValues, rename) {
  const bytes = gunzipSync(file);
  const start = bytes.indexOf("\n") + 5;
  const length = bytes.readUInt32LE(start - 4);
  const saved = JSON.parse(bytes.subarray(start, start + length).toString());
  const arrays = bytes.subarray(start + length);
  const { answers, kept } = saved;
  answers.labels = answers.labels.map(rename);
  answers.inspection.cellColumns = [{ name: "donor", kind: "categories", nCategories: nValues, isGrouping: false }];
  // The last value has most cells.
  const codes = Int32Array.from(answers.cells, (_, i) => (i < nValues ? i : nValues - 1));
  kept.columns = [["donor", { kind: "categories", categories: Array.from({ length: nValues }, (_, i) => `donor ${i}`), codes: { $array: "Int32Array", offset: arrays.length, length: codes.length } }]];
  const header = Buffer.from(JSON.stringify(saved));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(header.length);
  return gzipSync(Buffer.concat([bytes.subarray(0, start - 4), size, header, arrays, Buffer.from(codes.buffer)]));
}

test("figures say what they leave out, and names as long as they are do not run into one another", async () => {
  await page.fill("#gene", "");
  await page.selectOption("#colour-by", "label");
  const file = await readFile((await saved(page, "#save-study")).path);
  const other = await open(at.browser, at.origin, { viewport: { width: 1280, height: 900 } });
  const buffer = changed(file, 200, (label, i) => `${label} of the blood, alpha-beta memory, CD45RO-positive ${i}`);
  await other.page.setInputFiles("#file", { name: "donors.scdiva", mimeType: "", buffer });
  await ended(other.page);
  await other.page.waitForSelector("#composition svg text", WAIT);
  const texts = await other.page.$$eval("#composition svg text", (all) => all.map(({ textContent }) => textContent));
  assert.deepEqual(texts.slice(0, 2), ["donor 199", "41"]);
  assert.ok(texts.includes("and 160 more, smaller, of 160 cells together"), texts.join());
  await picture(other.page, "left-out");
  /** Words of the drawing that lie on others, or outside. */
  const overlapping = (svg) =>
    svg.evaluate((svg) => {
      const frame = svg.getBoundingClientRect();
      const boxes = [...svg.querySelectorAll("text:not([transform]):not([text-anchor=middle])")].map((text) => [text.textContent, text.getBoundingClientRect()]);
      return boxes.flatMap(([text, box], i) => {
        const isOutside = box.left < frame.left || box.right > frame.right + 1;
        const on = boxes.slice(i + 1).find(([, other]) => box.left < other.right && other.left < box.right && box.top + 2 < other.bottom && other.top + 2 < box.bottom);
        return isOutside || on ? [`${text}: ${isOutside ? "outside" : `on ${on[0]}`}`] : [];
      });
    });
  for (const figure of ["#composition", "#markers"]) {
    await other.page.waitForSelector(`${figure} svg`, WAIT);
    assert.deepEqual(await overlapping(other.page.locator(`${figure} svg`)), [], figure);
  }
  const map = await readFile((await saved(other.page, "#save-map-svg")).path, "utf8");
  await other.page.setContent(map);
  await picture(other.page, "map-long-names");
  assert.deepEqual(await overlapping(other.page.locator("svg")), []);
  await other.close();
});

test("nothing of all this was an error to the browser", () => assert.deepEqual(problems, []));
