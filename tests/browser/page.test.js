// Walks the page in Chromium as a visitor does, with WebGPU (a software adapter) and without, and records every request.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { annotateNatively, demo, root } from "../../pkg/test/command.js";
import { assertSame, parse } from "../../pkg/test/csv.js";
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
async function smallMatrix() {
  const genes = (await readFile(`${root}models/mini/vocab.tsv`, "utf8")).split("\n").slice(1, 161).map((line) => line.split("\t")[1]);
  let state = 1;
  const count = () => {
    state = (state * 48271) % 2147483647;
    return state % 5 === 0 ? 1 + (state % 7) : 0;
  };
  const rows = Array.from({ length: 6 }, (_, i) => [`cell_${i}`, ...genes.map(count)].join(","));
  const path = join(folder, "small.csv");
  await writeFile(path, [["cell", ...genes].join(","), ...rows].join("\n"));
  return path;
}

const modelReady = (page) =>
  page.waitForFunction(() => !document.querySelector("#device-name").textContent.startsWith("Getting"), null, WAIT);
const ended = (page) => page.waitForSelector("#results:not([hidden]), #error:not([hidden])", WAIT);

async function savedTable(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  return { name: download.suggestedFilename(), rows: parse(await readFile(await download.path(), "utf8")) };
}

/** Drops a file on the page as a hand would. */
async function drop(page, path) {
  const bytes = (await readFile(path)).toString("base64");
  const transfer = await page.evaluateHandle(
    ([base64, name]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
      return transfer;
    },
    [bytes, path.split("/").at(-1)],
  );
  await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
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
