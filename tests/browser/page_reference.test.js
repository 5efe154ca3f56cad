// A labelled file teaches the model its own types, in the page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ScDiVa } from "../../pkg/dist/node.js";
import { demo } from "../../pkg/test/command.js";
import { launch, open, picture, serve } from "./browser.js";
import { annotate, lookedAt, modelReady, saved, savedTable, WAIT } from "./page_support.js";

const skip = "fitHead" in ScDiVa.prototype ? false : "the package does not learn yet";
let server;
let browser;
before(async () => {
  server = await serve("www/dist");
  browser = await launch({ webgpu: false });
});
after(async () => {
  await browser.close();
  server.stop();
});

test("types of a file's own are learned, used, and their head is saved", { skip }, async () => {
  const { page, problems, close } = await open(browser, server.origin);
  await modelReady(page);
  await page.setInputFiles("#file", demo);
  await lookedAt(page);
  await page.click("#reference summary");
  await page.selectOption("#reference-column", "simulated_from");
  await page.click("#reference-learn");
  await page.waitForFunction(() => /^Learned 8 types from 240 cells/.test(document.querySelector("#reference-status").textContent), null, WAIT);
  assert.equal(await page.inputValue("#head"), "simulated_from");
  const head = await saved(page, "#reference-save");
  assert.equal(head.name, "simulated_from.safetensors");
  await picture(page, "learned");
  await annotate(page);
  const { rows } = await savedTable(page);
  const names = new Set(rows.map(({ label }) => label));
  assert.ok(names.size >= 7 && names.size <= 9, [...names].join());
  assert.match(await page.textContent("#methods-text"), /head simulated_from with 8 types/);
  assert.deepEqual(problems, []);
  await close();
});
