// What comes at the wrong moment: an answer after a later question, a choice during a look, a question over another.

import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { demo } from "../../pkg/test/command.js";
import { open, stage } from "./browser.js";
import { annotate, lookedAt, modelReady, smallMatrix, WAIT } from "./page_support.js";

const at = stage();

async function opened() {
  const opened = await open(at.browser, at.origin);
  await modelReady(opened.page);
  return opened;
}

/** As a visitor's hand does it, but for files, which a script cannot hold: this is what the page makes of the event. */
const dropped = (page, files, text) =>
  page.evaluate(
    ([files, text]) => {
      const dataTransfer = new DataTransfer();
      for (const name of files) dataTransfer.items.add(new File(["cell,a\nx,1\n"], name));
      if (text) dataTransfer.setData("text/plain", text);
      const onto = document.querySelector("dialog[open]") ?? document.body;
      onto.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
    },
    [files, text],
  );

test("text that is dropped is no file, and a second question takes the place of the first", async () => {
  const { page, problems, close } = await opened();
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await annotate(page);
  await dropped(page, [], "CD3E");
  await page.waitForTimeout(300);
  assert.ok(await page.isVisible("#results"));
  assert.ok(await page.isHidden("#busy"));
  await dropped(page, ["one.csv"]);
  await page.waitForFunction(() => document.querySelector("#busy-text").textContent.endsWith("open one.csv?"), null, WAIT);
  await dropped(page, ["two.csv"]);
  await page.waitForFunction(() => document.querySelector("#busy-text").textContent.endsWith("open two.csv?"), null, WAIT);
  await page.waitForTimeout(300);
  assert.ok(await page.isVisible("#busy"));
  await page.click("#busy-switch");
  await page.waitForFunction(() => document.querySelector("#found-summary").textContent !== "" || !document.querySelector("#error").hidden, null, WAIT);
  await page.waitForFunction(() => document.querySelector("#status").textContent.includes("two.csv") || document.querySelector("#error-text").textContent.includes("two.csv"), null, WAIT);
  assert.deepEqual(problems, []);
  await close();
});

test("genes are those of the labels that are shown, and the focus stays", async () => {
  const { page, problems, close } = await opened();
  await page.setInputFiles("#file", demo);
  await annotate(page);
  await page.waitForSelector("#markers-table", WAIT);
  const types = () => page.$$eval("#markers-table tbody th", (heads) => heads.map((head) => head.textContent));
  await page.waitForFunction(() => document.querySelectorAll("#markers-table tbody th").length > 3, null, WAIT);
  const all = await types();
  // Labels that nobody compared yet take longer than those that were.
  await page.evaluate(async () => {
    const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const compare = async (threshold) => {
      const slider = document.querySelector("#threshold");
      slider.value = threshold;
      slider.dispatchEvent(new Event("input"));
      await frames();
      const again = [...document.querySelectorAll("#markers button")].find((made) => made.textContent.startsWith("Compare"));
      again.focus();
      again.click();
    };
    await compare("0.98");
    await compare("0");
  });
  assert.notEqual(await page.evaluate(() => document.activeElement.tagName), "BODY");
  await page.waitForTimeout(3000);
  assert.deepEqual(await types(), all);
  assert.deepEqual(problems, []);
  await close();
});

test("a run that begins with a look has its sample and its choices", async () => {
  const { page, problems, close } = await opened();
  const samples = [join(at.folder, "A.h5ad"), join(at.folder, "B.h5ad")];
  for (const sample of samples) await copyFile(demo, sample);
  await page.setInputFiles("#file", samples);
  await lookedAt(page);
  await page.waitForFunction(() => /A\.h5ad/.test(document.querySelector("#report").textContent), null, WAIT);
  const locked = await page.evaluate(() => {
    const species = document.querySelector("#species");
    species.value = "human";
    species.dispatchEvent(new Event("change"));
    document.querySelector("#annotate").click();
    return [...document.querySelectorAll("#samples-list button, #samples-all, #samples-together, #species")].map((control) => control.disabled);
  });
  assert.deepEqual(locked, Array(5).fill(true));
  await page.waitForSelector("#results:not([hidden])", WAIT);
  assert.equal(await page.textContent("#results-title"), "A.h5ad");
  assert.ok(await page.isEnabled("#species"));
  assert.deepEqual(problems, []);
  await close();
});

test("what was annotated while another device was being got is asked about", async () => {
  const { page, problems, close } = await open(at.browser, `${at.origin}/?device=cpu`);
  await modelReady(page);
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await lookedAt(page);
  await page.evaluate(() => {
    const device = document.querySelector("#device-choice");
    device.value = "auto";
    device.dispatchEvent(new Event("change"));
    document.querySelector("#annotate").click();
  });
  await page.waitForSelector("#busy[open]", WAIT);
  await page.click("#busy-stay");
  await page.waitForSelector("#results:not([hidden])", WAIT);
  assert.equal(await page.inputValue("#device-choice"), "cpu");
  assert.match(page.url(), /device=cpu/);
  assert.deepEqual(problems, []);
  await close();
});
