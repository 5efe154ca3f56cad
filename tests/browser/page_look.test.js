// How the page looks and behaves: for a screen reader, in light and dark, on a phone, while it computes, and without WebGL.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { transformWithOxc } from "vite";
import { open, picture, stage } from "./browser.js";
import { annotate, compareAll, ended, findings, lookedAt, modelReady, saved, savedTable, smallMatrix, WAIT } from "./page_support.js";

const at = stage();

for (const colorScheme of ["light", "dark"]) {
  test(`nothing serious is in the way of a screen reader, ${colorScheme}`, async () => {
    const { page, close } = await open(at.browser, at.origin, { colorScheme });
    await modelReady(page);
    assert.deepEqual(await findings(page), []);
    await page.click("#model-short");
    assert.deepEqual(await findings(page), []);
    await page.click("#model-short");
    await page.setInputFiles("#file", await smallMatrix(at.folder));
    await lookedAt(page);
    await page.waitForFunction(() => /^Takes|^Needs/.test(document.querySelector("#estimate").textContent), null, WAIT);
    assert.deepEqual(await findings(page), []);
    await annotate(page);
    await compareAll(page);
    await page.waitForSelector(".legend-item", WAIT);
    assert.deepEqual(await findings(page), []);
    await close();
  });

  for (const [where, viewport] of [["", { width: 800, height: 700 }], ["-phone", { width: 390, height: 740 }]]) {
    test(`start, what was found, and results look as they did, ${colorScheme}${where}`, async () => {
      const { page, close } = await open(at.browser, at.origin, { colorScheme, viewport });
      const look = (name) => asItDid(page, `${name}${where}-${colorScheme}`);
      await modelReady(page);
      await page.waitForSelector("#offline[data-ready]", { state: "attached", ...WAIT });
      await look("start");
      await page.setInputFiles("#file", await smallMatrix(at.folder));
      await lookedAt(page);
      await page.waitForFunction(() => /^Takes/.test(document.querySelector("#estimate").textContent), null, WAIT);
      // How long it takes differs from machine to machine.
      await page.$eval("#estimate", (estimate) => (estimate.textContent = "Takes about 1 s here."));
      await look("found");
      await page.setInputFiles("#file", { name: "demo.scdiva", mimeType: "", buffer: await savedDemo() });
      await page.waitForSelector("#markers-table", WAIT);
      await page.waitForSelector(".legend-item", WAIT);
      await page.waitForFunction(() => document.querySelector(".map-surface canvas")?.width > 250, null, WAIT);
      await page.waitForTimeout(1500);
      // So does what the processor is called.
      await page.$eval("#methods-text", (text) => (text.textContent = text.textContent.replace(/Computed on the CPU \([^)]*\)/, "Computed on the CPU")));
      await look("results");
      await close();
    });
  }
}

/** Compares the whole page with what it looked like when it was last looked at. */
async function asItDid(page, name) {
  const now = await page.screenshot({ animations: "disabled", fullPage: true, type: "jpeg", quality: 70 });
  const path = new URL(`looks/${name}.jpg`, import.meta.url);
  if (process.env.TAKE_LOOKS) await writeFile(path, now);
  const blank = await at.browser.newPage();
  const [mean, most] = await blank.evaluate(difference, [now.toString("base64"), (await readFile(path)).toString("base64")]);
  await blank.close();
  assert.ok(mean < 4 && most < 90, `${name} differs by ${mean.toFixed(1)} of 255 on average, ${most.toFixed(0)} at most; TAKE_LOOKS=1 takes new ones`);
}

/**
 * In a page: how two pictures differ in squares of 20 pixels, on average and at most. Letters of another font make little of a difference, and so
 * does a height that is a little different; another one is all the difference there can be.
 */
async function difference([a, b]) {
  const images = await Promise.all(
    [a, b].map(async (data) => {
      const image = new Image();
      image.src = `data:image;base64,${data}`;
      await image.decode();
      return image;
    }),
  );
  const [{ width, height }, second] = images;
  if (width !== second.width || Math.abs(height - second.height) > 0.03 * height) return [255, 255];
  const [one, other] = images.map((image) => {
    const canvas = new OffscreenCanvas(Math.round(width / 20), Math.round(height / 20));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  });
  const differences = Array.from(one, (value, i) => Math.abs(value - other[i]));
  return [differences.reduce((sum, value) => sum + value, 0) / differences.length, Math.max(...differences)];
}

test("the page stays smooth while the worker computes", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.waitForSelector("#offline[data-ready]", { state: "attached", ...WAIT });
  await page.evaluate(() => {
    globalThis.gaps = [];
    let last = performance.now();
    const frame = (now) => {
      if (document.querySelector("#run").checkVisibility()) globalThis.gaps.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  await page.click("#demo");
  await ended(page);
  const gaps = (await page.evaluate(() => globalThis.gaps)).sort((a, b) => a - b);
  const gap = (share) => gaps[Math.floor(share * (gaps.length - 1))];
  console.log(`frames while annotating: ${gaps.length}, ${gap(0.5).toFixed(1)} ms at the median, ${gap(0.95).toFixed(1)} ms at the 95th percentile, ${gap(1).toFixed(0)} ms at most`);
  assert.ok(gaps.length > 30, `${gaps.length} frames`);
  // 16.7 on a quiet machine, software rendering included.
  assert.ok(gap(0.95) < 100, `95th percentile ${gap(0.95)} ms`);
  await close();
});

test("one cell is said to be one, and where none has a label nothing is compared", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await page.setInputFiles("#file", await smallMatrix(at.folder, 1));
  await lookedAt(page);
  assert.equal(await page.textContent("#annotate"), "Annotate 1 cell");
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await page.waitForFunction(() => document.querySelector("#annotate").textContent === "Annotate 6 cells", null, WAIT);
  await annotate(page);
  assert.match(await page.textContent("#summary"), /^6 cells, 0 cell types\. .*; 6 cells below 42 % are left unassigned\.$/);
  await page.waitForFunction(() => /No cell has a label, so there is nothing to compare/.test(document.querySelector("#markers .stack").textContent), null, WAIT);
  assert.equal(await page.locator("#markers table").count(), 0);
  const [least, next] = (await savedTable(page)).rows.map(({ probability }) => probability).sort((a, b) => a - b);
  await page.$eval("#threshold", (slider, value) => {
    Object.assign(slider, { step: "any", value });
    slider.dispatchEvent(new Event("input"));
  }, String((least + next) / 2));
  await page.waitForFunction(() => /; 1 cell below .* is left unassigned\.$/.test(document.querySelector("#summary").textContent), null, WAIT);
  await close();
});

test("a share that is not nothing is not called so", async () => {
  const { code } = await transformWithOxc(await readFile(new URL("../../www/src/format.ts", import.meta.url), "utf8"), "format.ts");
  const { percent } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  assert.deepEqual([0, 1 / 2638, 0.001, 0.05, 0.5, 0.996, 2637 / 2638, 1].map(percent), ["0 %", "< 0.1 %", "0.1 %", "5.0 %", "50 %", "99.6 %", "> 99.9 %", "100 %"]);
});

test("works at the width of a phone", async () => {
  const { page, close } = await open(at.browser, at.origin, { viewport: { width: 390, height: 740 }, hasTouch: true });
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await annotate(page);
  await compareAll(page);
  await picture(page, "phone");
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${overflow} px too wide`);
  for (const summary of ["#private-summary", "#model-short", "#device-short"]) {
    await page.click(summary);
    const { left, right } = await page.$eval(summary, (chip) => chip.nextElementSibling.getBoundingClientRect());
    assert.ok(left >= 0 && right <= 390, `${summary}: ${left} to ${right}`);
  }
  await close();
});

test("in a window that becomes narrow the map shows all cells, or the part that was chosen by hand", async () => {
  const { page, problems, close } = await open(at.browser, at.origin, { viewport: { width: 1280, height: 900 } });
  await page.setInputFiles("#file", { name: "demo.scdiva", mimeType: "", buffer: await savedDemo() });
  await page.waitForSelector(".legend-item", WAIT);
  /** Where there are cells, in parts of the width. */
  const drawn = async () => {
    await page.waitForTimeout(700);
    return page.evaluate(() => {
      const { width, height } = document.querySelector(".map-surface canvas");
      const { data } = document.querySelector(".map-surface canvas").getContext("2d").getImageData(0, 0, width, height);
      const columns = [...Array(width).keys()].filter((x) => [...Array(height).keys()].some((y) => data[4 * (y * width + x) + 3] > 0));
      return columns.length > 0 ? [columns[0] / width, columns.at(-1) / width, columns.length] : [];
    });
  };
  const [, , wide] = await drawn();
  await page.setViewportSize({ width: 360, height: 740 });
  const [left, right, narrow] = await drawn();
  assert.ok(left > 0.03 && right < 0.97 && right - left > 0.5 && narrow < wide, `${left} to ${right}`);
  const place = () => page.$eval('.map-names [data-group="0"]', (name) => name.getBoundingClientRect().x - name.closest(".map-stage").getBoundingClientRect().x);
  await page.click('[aria-label="Zoom in"]');
  const [before] = [await drawn(), await place()].slice(1);
  await page.setViewportSize({ width: 1280, height: 900 });
  assert.ok((await drawn()).length > 0);
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok((await drawn()).length > 0);
  assert.ok(Math.abs((await place()) - before) < 2, "the part that was chosen is the same");
  assert.deepEqual(problems, []);
  await close();
});

for (const [what, width] of [["narrow", 360], ["enlarged to twice its size", 640]]) {
  test(`long names of files and columns stay within a page that is ${what}`, async () => {
    const { page, close } = await open(at.browser, at.origin, { viewport: { width, height: 740 } });
    const tooWide = async (where) => {
      // Columns of the name that no break is seen in.
      await page.evaluate(() => {
        for (const select of document.querySelectorAll("select")) select.add(new Option(`column ${"cell_type_reclustered_fine_by_someone_".repeat(2)}`));
      });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${where}: ${overflow} px too wide`);
    };
    const name = `${"x".repeat(90)}_of_a_sequencing_core`;
    const buffer = await readFile(await smallMatrix(at.folder, 300));
    const files = [`${name}.csv`, `${name}_2.csv`].map((name) => ({ name, mimeType: "", buffer }));
    await page.setInputFiles("#file", files);
    await lookedAt(page);
    await tooWide("found");
    await picture(page, `long-names-${width}`);
    await page.click("#annotate");
    await page.waitForSelector("#run:not([hidden])", WAIT);
    await tooWide("run");
    await page.setInputFiles("#file", files[0]);
    await page.waitForSelector("#busy[open]", WAIT);
    await tooWide("asked");
    await page.click("#busy-stay");
    await ended(page);
    await page.waitForSelector(".legend-item", WAIT);
    await tooWide("results");
    await picture(page, `long-names-results-${width}`);
    await close();
  });
}

test("by keyboard alone: demo, threshold, legend, map", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.focus("#demo");
  await page.keyboard.press("Enter");
  await ended(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), "results");
  await page.focus("#threshold");
  await page.keyboard.press("End");
  await page.waitForFunction(() => /^100 %: 240 of 240/.test(document.querySelector("#threshold-text").textContent), null, WAIT);
  await page.keyboard.press("Home");
  await page.waitForSelector(".legend-item", WAIT);
  await page.focus(".legend-item");
  await page.keyboard.press("Space");
  assert.equal(await page.getAttribute(".legend-item", "aria-pressed"), "false");
  const where = () => page.$eval(".map-names span:not([hidden])", (name) => name.style.transform);
  await page.focus(".map-surface");
  const start = await where();
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await where(), start);
  await page.keyboard.press("0");
  assert.equal(await where(), start);
  await close();
});

/** The map as it is drawn when the browser says that it has this graphics card; `null` is no WebGL at all. */
async function mapOn(t, card) {
  const { page, problems, close } = await open(at.browser, "about:blank", { viewport: { width: 1000, height: 900 } });
  t.after(close);
  await page.addInitScript((card) => {
    const { getContext } = HTMLCanvasElement.prototype;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
      return card === null && kind.startsWith("webgl") ? null : getContext.call(this, kind, ...rest);
    };
    const { getParameter } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.getParameter = function (name) {
      return card !== null && (name === 0x9246 || name === 0x1f01) ? card : getParameter.call(this, name);
    };
  }, card);
  await page.goto(at.origin);
  await page.setInputFiles("#file", { name: "demo.scdiva", mimeType: "", buffer: await savedDemo() });
  await page.waitForSelector(".legend-item", WAIT);
  await page.waitForFunction(() => document.querySelector(".map-surface canvas")?.width > 300, null, WAIT);
  await page.waitForTimeout(1500);
  const stage = page.locator(".map-stage");
  const picture = (await stage.screenshot()).toString("base64");
  const { x, y, width, height } = await stage.boundingBox();
  await page.click("#lasso");
  await page.mouse.move(x + 2, y + 2);
  await page.mouse.down();
  for (const corner of [[x + width / 2, y + 2], [x + width / 2, y + height - 2], [x + 2, y + height - 2]]) await page.mouse.move(...corner, { steps: 3 });
  await page.mouse.up();
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.wheel(0, -400);
  const selected = await page.textContent("#selection h4");
  assert.deepEqual(problems, []);
  return { picture, selected };
}

let demoFile;
async function savedDemo() {
  if (demoFile) return demoFile;
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await page.click("#demo");
  await ended(page);
  demoFile = await readFile((await saved(page, "#save-study")).path);
  await close();
  return demoFile;
}

test("the map is the same on a graphics card, on an imitated one, and without WebGL", async (t) => {
  const ways = [await mapOn(t, "A Graphics Card"), await mapOn(t, "Google SwiftShader"), await mapOn(t, null)];
  assert.match(ways[0].selected, /^\d+ cells selected$/);
  for (const { picture, selected } of ways.slice(1)) {
    assert.equal(selected, ways[0].selected);
    const blank = await at.browser.newPage();
    const [mean, most] = await blank.evaluate(difference, [ways[0].picture, picture]);
    await blank.close();
    assert.ok(mean < 3 && most < 90, `differs by ${mean.toFixed(1)} of 255 on average, ${most.toFixed(0)} at most`);
  }
});
