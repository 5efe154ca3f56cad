// A head that tells tissues apart: the tissue is recognised or chosen, said with the results, and kept in the saved analysis.

import assert from "node:assert/strict";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { demo, root } from "../../pkg/test/command.js";
import { open, picture, stage } from "./browser.js";
import { annotate, ended, lookedAt, modelReady, saved, savedTable, smallMatrix, WAIT } from "./page_support.js";

const BLOOD = ["B", "Plasma", "CD4 T", "CD8 T", "NK", "CD14 Mono", "CD16 Mono", "DC", "Platelet"];
/** The embedded model with a head that knows which of its types are of blood, and a threshold of its own. */
let model;

/** The embedded model under another name, other things said in its head's metadata; what is `undefined` is not said. */
async function mini(name, metadata) {
  const copy = join(at.folder, name);
  await cp(join(root, "models/mini"), copy, { recursive: true });
  const path = join(copy, "heads/cell_types.safetensors");
  const bytes = await readFile(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, start).toString());
  Object.assign(header.__metadata__, metadata);
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  await writeFile(path, Buffer.concat([length, padded, bytes.subarray(start)]));
  return copy;
}

const at = stage(async () => {
  model = await mini("tissues", { tissues: JSON.stringify({ blood: BLOOD }), min_probability: "0.35" });
});

test("the tissue is recognised or chosen, and said", async () => {
  const { page, problems, close } = await open(at.browser, at.origin);
  await page.setInputFiles("#model-folder", model);
  await page.waitForFunction(() => document.querySelector("#model-short").textContent === "Model: tissues", null, WAIT);
  await modelReady(page);
  await page.setInputFiles("#file", demo);
  await lookedAt(page);
  assert.equal(await page.inputValue("#tissue"), "");
  assert.deepEqual(await page.$$eval("#tissue option", (options) => options.map((option) => option.value)), ["", "any", "blood"]);
  const stages = page.waitForFunction(() => document.querySelector("#stages [data-stage=tissue]:not([hidden])"), null, WAIT);
  await annotate(page);
  await stages;
  assert.match(await page.textContent("#tissue-decision"), /^Tissue: blood \(recognised: [\d.]+ % of a probe of 240 cells looked like other tissue\)\.$/);
  assert.match(await page.textContent("#methods-text"), /Tissue: blood \(recognised: .*\); only its types were named\. Cells .* below 0\.35 were left unassigned/);
  assert.equal(await page.inputValue("#threshold"), "0.35");
  const { rows } = await savedTable(page);
  for (const { label } of rows) assert.ok([...BLOOD, "unassigned"].includes(label), label);
  await picture(page, "tissue");

  const file = await saved(page, "#save-study");
  const other = await open(at.browser, at.origin);
  await other.page.setInputFiles("#file", { name: file.name, mimeType: "", buffer: await readFile(file.path) });
  await ended(other.page);
  for (const part of ["#tissue-decision", "#methods-text", "#threshold-text"]) assert.equal(await other.page.textContent(part), await page.textContent(part));
  await other.close();

  await page.click("#found-details summary");
  await page.selectOption("#tissue", "any");
  await annotate(page);
  assert.equal(await page.textContent("#tissue-decision"), "Tissue: any (as was asked).");
  assert.match(await page.textContent("#methods-text"), /types of all tissues could be named/);
  assert.deepEqual(problems, []);
  await close();
});

test("a head that tells no tissues apart is asked for none", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await page.setInputFiles("#model-folder", await mini("plain", { tissues: undefined, tissue_ambiguous: undefined, min_probability: undefined }));
  await page.waitForFunction(() => document.querySelector("#model-short").textContent === "Model: plain", null, WAIT);
  await modelReady(page);
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await lookedAt(page);
  assert.ok(await page.isHidden("#tissue"));
  await annotate(page);
  assert.ok((await page.locator("#tissue-decision").count()) === 0);
  await close();
});
