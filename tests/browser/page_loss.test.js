// Work that could be lost: another device, another file or leaving the page is asked about while something runs or is not saved.

import assert from "node:assert/strict";
import { test } from "node:test";
import { open, stage } from "./browser.js";
import { annotate, lookedAt, modelReady, saved, smallMatrix, WAIT } from "./page_support.js";

const at = stage();

/** A page with results that nobody saved. */
async function withResults(nCells = 6) {
  const opened = await open(at.browser, at.origin);
  await modelReady(opened.page);
  await opened.page.setInputFiles("#file", await smallMatrix(at.folder, nCells));
  await annotate(opened.page);
  return opened;
}

async function chooseDevice(page, device) {
  if (!(await page.isVisible("#device-choice"))) await page.click("#device-short");
  await page.selectOption("#device-choice", device);
}

test("another device is asked about, and until it is there everything stays", async () => {
  const { page, problems, close } = await withResults();
  await chooseDevice(page, "cpu");
  await page.waitForSelector("#busy[open]", WAIT);
  assert.match(await page.textContent("#busy-text"), /^The results of small\.csv are not saved\. Give them up and let another device compute\?$/);
  await page.click("#busy-stay");
  assert.equal(await page.inputValue("#device-choice"), "auto");
  assert.doesNotMatch(page.url(), /device/);
  assert.ok(await page.isVisible("#results"));
  await saved(page, "#save");
  // There is none, and nothing is asked about what was saved.
  await chooseDevice(page, "gpu");
  await page.waitForFunction(() => /cannot be used, so that all stays as it was/.test(document.querySelector("#device-hint").textContent), null, WAIT);
  assert.equal(await page.inputValue("#device-choice"), "auto");
  assert.doesNotMatch(page.url(), /device/);
  assert.match(await page.textContent("#device-name"), /^Processor/);
  assert.ok(await page.isVisible("#results"));
  await saved(page, "#save-h5ad");
  await chooseDevice(page, "cpu");
  await page.waitForSelector("#results", { state: "hidden", ...WAIT });
  assert.match(page.url(), /device=cpu/);
  await annotate(page);
  await chooseDevice(page, "auto");
  await page.click("#busy-switch");
  await page.waitForSelector("#results", { state: "hidden", ...WAIT });
  await lookedAt(page);
  assert.deepEqual(problems, []);
  await close();
});

test("while it annotates, another device ends the run only when the visitor says so, and the choices come back", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.click("#demo");
  await page.waitForSelector("#run:not([hidden])", WAIT);
  await chooseDevice(page, "cpu");
  await page.waitForSelector("#busy[open]", WAIT);
  await page.keyboard.press("Escape");
  assert.ok(await page.isVisible("#run"));
  await chooseDevice(page, "cpu");
  await page.click("#busy-switch");
  await page.waitForSelector("#run", { state: "hidden", ...WAIT });
  await lookedAt(page);
  assert.ok(await page.isEnabled("#species"));
  await annotate(page);
  await close();
});

test("a file that was dropped where the device failed is looked at on the next one", async () => {
  const { page, close } = await open(at.browser, `${at.origin}?device=gpu`);
  await modelReady(page);
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await page.waitForSelector("#error:not([hidden])", WAIT);
  await chooseDevice(page, "cpu");
  await page.waitForSelector("#annotate:visible", WAIT);
  await annotate(page);
  await close();
});
