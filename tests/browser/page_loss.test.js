// Work that could be lost: another device, another file or leaving the page is asked about while something runs or is not saved.

import assert from "node:assert/strict";
import { test } from "node:test";
import { demo } from "../../pkg/test/command.js";
import { open, picture, stage } from "./browser.js";
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
  assert.match(await page.textContent("#busy-text"), /^small\.csv is annotated, and its results are not saved\. Give them up and let another device compute\?$/);
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
  // Not while it is being written, when that is cancelled.
  const first = page.waitForEvent("download", { timeout: 1500 }).then(() => "saved", () => "nothing");
  await page.evaluate(() => ["#save-h5ad", "#saving-cancel"].forEach((id) => document.querySelector(id).click()));
  await page.waitForFunction(() => document.querySelector("#saving").textContent === "Cancelled.", null, WAIT);
  assert.ok(await page.isHidden("#saving-cancel"));
  assert.equal(await first, "nothing");
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

/** What the browser asks when the page is left; the answer is to stay. */
async function asksOnLeaving(page) {
  const asked = page.waitForEvent("dialog", { timeout: 3000 }).then(
    (dialog) => dialog.dismiss().then(() => dialog.type()),
    () => "nothing",
  );
  await page.evaluate(() => void setTimeout(() => location.reload(), 0));
  return asked;
}

test("leaving the page is asked about while it annotates and until the results are saved", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.setInputFiles("#file", await smallMatrix(at.folder, 700));
  await lookedAt(page);
  await page.click("#annotate");
  await page.waitForSelector("#run:not([hidden])", WAIT);
  assert.equal(await asksOnLeaving(page), "beforeunload");
  await page.waitForSelector("#results:not([hidden])", WAIT);
  assert.equal(await asksOnLeaving(page), "beforeunload");
  await saved(page, "#save");
  assert.equal(await asksOnLeaving(page), "nothing");
  await close();
});

test("annotated again and cancelled, the results from before stay", async () => {
  const { page, close } = await withResults(700);
  const types = () => page.$eval("#types tbody", (body) => body.textContent);
  const before = await types();
  await page.click("#annotate");
  // The first block is whole, and the second is under way.
  await page.waitForFunction(() => /^([3-6]\d\d) of 700 cells · .* left/.test(document.querySelector("#progress-text").textContent), null, { ...WAIT, polling: 10 });
  await page.click("#cancel");
  await page.waitForSelector("#results:not([hidden])", WAIT);
  assert.equal(await types(), before);
  assert.equal(await page.textContent("#annotate"), "Annotate again");
  await page.waitForFunction(() => /cells are annotated and kept/.test(document.querySelector("#estimate").textContent), null, WAIT);
  assert.equal(await page.textContent("#annotate"), "Annotate again");
  assert.match((await saved(page, "#save")).name, /csv$/);
  await close();
});

test("a question about a run that ends meanwhile is about its results, and so is the next file", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.setInputFiles("#file", await smallMatrix(at.folder, 300));
  await lookedAt(page);
  await page.click("#annotate");
  await page.waitForSelector("#run:not([hidden])", WAIT);
  await page.setInputFiles("#file", demo);
  await page.waitForSelector("#busy[open]", WAIT);
  assert.match(await page.textContent("#busy-text"), /^small\.csv is still being annotated\. Stop that and open pbmc_simulated\.h5ad\?$/);
  await page.waitForFunction(() => /^small\.csv is annotated, and its results are not saved/.test(document.querySelector("#busy-text").textContent), null, WAIT);
  assert.equal(await page.textContent("#busy-stay"), "Keep the results");
  await picture(page, "asked");
  await page.click("#busy-stay");
  assert.ok(await page.isVisible("#results"));
  await page.setInputFiles("#file", demo);
  await page.click("#busy-switch");
  await page.waitForFunction(() => document.querySelector("#report").textContent.includes("pbmc_simulated"), null, WAIT);
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
