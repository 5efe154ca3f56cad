// A labelled file teaches the model its own types, in the page.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { demo } from "../../pkg/test/command.js";
import { open, picture, stage } from "./browser.js";
import { annotate, drop, findings, lookedAt, modelReady, saved, savedTable, smallMatrix, WAIT } from "./page_support.js";

const at = stage();

test("types of a file's own are learned, used, and their head is saved and opened again", async () => {
  const { page, problems, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.setInputFiles("#file", demo);
  await lookedAt(page);
  // Of the model's head only: what is chosen here must not come back unseen.
  await page.selectOption("#tissue", "any");
  await lookedAt(page);
  await page.click("#reference summary");
  await page.selectOption("#reference-column", "simulated_from");
  await page.click("#reference-learn");
  await page.waitForFunction(() => /of 240 cells/.test(document.querySelector("#progress-text").textContent), null, WAIT);
  assert.equal(await page.textContent("#run-title"), "Learning the types of pbmc_simulated.h5ad");
  assert.ok((await page.isDisabled("#species")) && (await page.isHidden("#annotate")));
  await picture(page, "learning");
  await page.click("#cancel");
  await page.waitForSelector("#run", { state: "hidden", ...WAIT });
  assert.ok((await page.isEnabled("#species")) && (await page.isEnabled("#reference-learn")) && (await page.isHidden("#error")));
  assert.equal(await page.textContent("#reference-status"), "");
  assert.equal(await page.evaluate(() => document.activeElement.id), "reference-learn");
  await page.click("#reference-learn");
  await page.waitForFunction(() => /^Learned 8 types from 240 cells/.test(document.querySelector("#reference-status").textContent), null, WAIT);
  assert.equal(await page.inputValue("#head"), "simulated_from");
  assert.match(await page.textContent("#reference-report .facts"), /Cells used240, of these \d+ held out.*Called rightly[\d.]+ %.*Macro F1[01]\.\d{3}.*Calibration error0\.\d{3}.*Threshold0\.\d+/);
  const cells = await page.$$eval("#reference-report tbody tr", (rows) => rows.map((row) => Number(row.cells[1].textContent)));
  assert.ok(cells.length === 8 && cells.reduce((a, b) => a + b) === 240, cells.join());
  assert.ok(await page.isHidden("#tissue"), "a learned head tells no tissues apart");
  const head = await saved(page, "#reference-save");
  assert.equal(head.name, "simulated_from.safetensors");
  const buffer = await readFile(head.path);
  await picture(page, "learned");
  assert.deepEqual(await findings(page), []);
  await annotate(page);
  const { rows } = await savedTable(page);
  const names = new Set(rows.map(({ label }) => label));
  assert.ok(names.size >= 7 && names.size <= 9, [...names].join());
  assert.match(await page.textContent("#methods-text"), /head simulated_from with 8 types/);
  assert.equal(await page.locator("#tissue-decision").count(), 0);
  await page.click("#found-details summary");
  await page.selectOption("#head", "");
  const tissue = await page.inputValue("#tissue");
  await annotate(page);
  assert.match(await page.textContent("#tissue-decision"), tissue === "any" ? /^Tissue: any \(as was asked\)/ : /^Tissue: blood \(recognised/);
  await saved(page, "#save");
  // Of the next file it would not be true; the head stays.
  assert.match(await page.textContent("#reference-status"), /^Learned/);
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await lookedAt(page);
  assert.equal(await page.textContent("#reference-status"), "");
  assert.ok(await page.isHidden("#reference-report"));
  assert.equal(await page.locator("#head option", { hasText: "simulated_from" }).count(), 1);
  assert.deepEqual(problems, []);
  await close();

  const other = await open(at.browser, at.origin);
  await modelReady(other.page);
  await other.page.setInputFiles("#head-file", { name: "broken.safetensors", mimeType: "", buffer: buffer.subarray(0, 100) });
  await other.page.waitForFunction(() => /broken/.test(document.querySelector("#model-status").textContent) && !/^Opening/.test(document.querySelector("#model-status").textContent), null, WAIT);
  assert.equal(await other.page.inputValue("#head"), "");
  const file = join(at.folder, head.name);
  await writeFile(file, buffer);
  await drop(other.page, file);
  await other.page.waitForFunction(() => /The head simulated_from is chosen/.test(document.querySelector("#model-status").textContent), null, WAIT);
  await picture(other.page, "head-opened");
  await other.page.click("#model-short");
  // Another device has the head too.
  await other.page.click("#device-short");
  await other.page.selectOption("#device-choice", "cpu");
  await modelReady(other.page);
  await other.page.click("#device-short");
  await other.page.setInputFiles("#file", demo);
  await lookedAt(other.page);
  assert.equal(await other.page.inputValue("#head"), "simulated_from");
  await annotate(other.page);
  assert.deepEqual((await savedTable(other.page)).rows, rows);
  assert.deepEqual(other.problems, []);
  await other.close();
});
