// What can happen to a page while it works: its tab is hidden, its graphics process dies, its browser is another one.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { annotateNatively, demo, root } from "../../pkg/test/command.js";
import { assertSame } from "../../pkg/test/csv.js";
import { wideTable } from "../../pkg/test/several.js";
import { launch, open, picture, stage } from "./browser.js";
import { annotate, compareAll, drop, ended, lookedAt, modelReady, saved, savedTable, smallMatrix, WAIT } from "./page_support.js";

const at = stage();

test("in a hidden tab, where no frame is drawn, a run comes to its end", async () => {
  const { page, problems, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.setInputFiles("#file", demo);
  await lookedAt(page);
  await page.evaluate(() => {
    globalThis.requestAnimationFrame = () => 0;
    Object.defineProperty(document, "hidden", { get: () => true });
    Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
    document.dispatchEvent(new Event("visibilitychange"));
    // Nothing can be clicked where nothing is drawn.
    document.querySelector("#annotate").click();
  });
  await page.waitForFunction(() => /240 cells, 8 cell types/.test(document.querySelector("#summary")?.textContent), null, { ...WAIT, polling: 200 });
  const [download] = await Promise.all([page.waitForEvent("download", WAIT), page.evaluate(() => document.querySelector("#save").click())]);
  assert.match(download.suggestedFilename(), /^pbmc_simulated.*\.csv$/);
  assert.deepEqual(problems, []);
  await close();
});

// Safari 26 and Firefox 141 have all that the page needs, and lack this; WebGPU too on some systems.
test("without what other browsers lack, all of it works", async () => {
  const { page, problems, close } = await open(at.browser, "about:blank");
  await page.addInitScript(() => {
    delete ReadableStream.prototype[Symbol.asyncIterator];
    delete ReadableStream.prototype.values;
    for (const name of ["showSaveFilePicker", "showOpenFilePicker", "showDirectoryPicker", "requestIdleCallback", "scheduler", "navigation", "queryLocalFonts"]) delete globalThis[name];
    delete DataTransferItem.prototype.getAsFileSystemHandle;
    delete FileSystemFileHandle.prototype.move;
    for (const name of ["gpu", "deviceMemory", "userAgentData", "connection"]) Object.defineProperty(Navigator.prototype, name, { get: () => undefined, configurable: true });
    delete Performance.prototype.measureUserAgentSpecificMemory;
  });
  await page.goto(at.origin);
  await modelReady(page);
  assert.match(await page.textContent("#device-name"), /^Processor/);
  assert.match(await page.textContent("#device-hint"), /This browser offers no WebGPU/);
  const mine = join(at.folder, "mine");
  await cp(join(root, "models/mini"), mine, { recursive: true });
  await page.setInputFiles("#model-folder", mine);
  await page.waitForFunction(() => /^mine is stored/.test(document.querySelector("#model-status").textContent), null, WAIT);
  await modelReady(page);
  const small = await smallMatrix(at.folder);
  await drop(page, small);
  await annotate(page);
  assertSame((await savedTable(page)).rows, annotateNatively(small));
  await compareAll(page);
  const study = await saved(page, "#save-study");
  await page.setInputFiles("#file", { name: study.name, mimeType: "", buffer: await readFile(study.path) });
  await page.waitForFunction(() => /a saved analysis of 6 cells/.test(document.querySelector("#status").textContent), null, WAIT);
  assert.deepEqual(problems, []);
  await close();
});

/** What this test has started, and what that has. */
function ownProcesses() {
  const lines = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" }).trim().split("\n");
  const all = lines.map((line) => line.trim().split(/\s+/)).map(([pid, parent, ...args]) => ({ pid: Number(pid), parent: Number(parent), args: args.join(" ") }));
  const own = new Set([process.pid]);
  for (let before = 0; before !== own.size; ) {
    before = own.size;
    for (const { pid, parent } of all) if (own.has(parent)) own.add(pid);
  }
  return all.filter(({ pid }) => own.has(pid) && pid !== process.pid);
}

test("the graphics process dies while it computes, and the run goes on", async () => {
  const withGpu = await launch({ webgpu: true });
  try {
    const { page, close } = await open(withGpu, `${at.origin}?device=gpu`);
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /^Software WebGPU adapter/);
    // Another device of the same process tells when it is gone.
    await page.evaluate(async () => {
      const adapter = await navigator.gpu.requestAdapter();
      globalThis.witness = await adapter.requestDevice();
      globalThis.witness.lost.then(() => (globalThis.gone = true));
    });
    const path = await smallMatrix(at.folder, 200);
    await page.setInputFiles("#file", path);
    await lookedAt(page);
    await page.click("#annotate");
    await page.waitForSelector("#run:not([hidden])", WAIT);
    const graphics = ownProcesses().filter(({ args }) => args.includes("--type=gpu-process"));
    assert.ok(graphics.length > 0, "no graphics process");
    for (const { pid } of graphics) process.kill(pid, "SIGKILL");
    await page.waitForFunction(() => globalThis.gone, null, { timeout: 20_000 });
    assert.ok(await page.isVisible("#run"), "it ended before the process did");
    await ended(page);
    assert.ok(await page.isHidden("#error"), await page.textContent("#error-text"));
    assertSame((await savedTable(page)).rows, annotateNatively(path));
    await close();
  } finally {
    await withGpu.close();
  }
});

test("where the browser gives no more memory that is said, and a smaller file is annotated", async () => {
  const poor = await launch({ webgpu: false, flags: ["--js-flags=--wasm-max-mem-pages=640"] });
  try {
    const { page, problems, close } = await open(poor, at.origin);
    await modelReady(page);
    const wide = join(at.folder, "wide.csv");
    await writeFile(wide, await wideTable(root));
    await page.setInputFiles("#file", wide);
    await lookedAt(page);
    if (await page.isHidden("#error")) {
      await page.click("#annotate");
      await ended(page);
    }
    assert.match(await page.textContent("#error-text"), /not as much memory/);
    assert.match(await page.textContent("#error-help"), /no more memory for this page\. Close other tabs/);
    await picture(page, "memory");
    await page.setInputFiles("#file", demo);
    await annotate(page);
    assertSame((await savedTable(page)).rows, annotateNatively(demo));
    assert.deepEqual(problems, []);
    await close();
  } finally {
    await poor.close();
  }
});
