// What the tests of the page share: small matrices, and the steps of a visitor.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { root } from "../../pkg/test/command.js";

export const WAIT = { timeout: 240_000 };

/** A few cells of few genes: software adapters are slow. */
export async function smallCounts(nCells = 6) {
  const vocabulary = (await readFile(`${root}models/mini/vocab.tsv`, "utf8")).split("\n").slice(1, 161).map((line) => line.split("\t"));
  let state = 1;
  const count = () => {
    state = (state * 48271) % 2147483647;
    return state % 5 === 0 ? 1 + (state % 7) : 0;
  };
  const rows = Array.from({ length: nCells }, () => vocabulary.map(count));
  return { cells: rows.map((_, i) => `cell_${i}`), genes: vocabulary.map(([, symbol]) => symbol), rows };
}

export async function table(path, genes, { cells, rows }) {
  await writeFile(path, [["cell", ...genes].join(","), ...rows.map((row, i) => [cells[i], ...row].join(","))].join("\n"));
  return path;
}

export async function smallMatrix(folder, nCells) {
  const counts = await smallCounts(nCells);
  return table(join(folder, "small.csv"), counts.genes, counts);
}

/** The same by the first symbols of the table of orthologs. */
export async function mouseMatrix(folder) {
  const orthologs = gunzipSync(await readFile(`${root}models/mini/orthologs_mouse.tsv.gz`)).toString();
  return table(join(folder, "mouse.csv"), orthologs.split("\n").slice(1, 161).map((line) => line.split("\t")[1]), await smallCounts());
}

export async function writeAll(folder, name, files) {
  for (const [file, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name, file)), { recursive: true });
    await writeFile(join(folder, name, file), content);
  }
  return join(folder, name);
}

export const modelReady = (page) =>
  page.waitForFunction(() => !document.querySelector("#device-name").textContent.startsWith("Getting"), null, WAIT);

/** Waits until it was looked at a file: it can be annotated, or something is wrong with it. */
export const lookedAt = (page) => page.waitForSelector("#go:not([hidden]) #annotate:visible, #error:not([hidden])", WAIT);
export const ended = (page) => page.waitForSelector("#results:not([hidden]), #error:not([hidden])", WAIT);

/** Presses the button, once there is one to press. */
export async function annotate(page) {
  await lookedAt(page);
  assert.ok(await page.isHidden("#error"), await page.textContent("#error-text"));
  await page.click("#annotate");
  await ended(page);
  assert.ok(await page.isHidden("#error"), await page.textContent("#error-text"));
}

/** Waits until the genes of types are there. The cells of a small matrix are like none that the model knows: all labels are given first. */
export async function compareAll(page) {
  await page.$eval("#threshold", (slider) => {
    slider.value = "0";
    slider.dispatchEvent(new Event("input"));
  });
  await page.click("text=Compare with these labels");
  await page.waitForSelector("#markers-table", WAIT);
}

export async function saved(page, button) {
  const [download] = await Promise.all([page.waitForEvent("download", WAIT), page.click(button)]);
  return { name: download.suggestedFilename(), path: await download.path() };
}

/** The table, by the names that the command's short one has. */
export async function savedTable(page) {
  const { name, path } = await saved(page, "#save");
  const [header, ...lines] = (await readFile(path, "utf8")).trimEnd().split("\n").map((line) => line.split(","));
  const at = (line, column) => line[header.indexOf(column)];
  const rows = lines.map((line) => ({
    cell: at(line, "cell"),
    label: at(line, "label"),
    probability: Number(at(line, "probability")),
    secondLabel: at(line, "second_label"),
    secondProbability: Number(at(line, "second_probability")),
    rejected: at(line, "rejected"),
  }));
  return { name, path, rows };
}

/** Drops files or folders on the page as a hand would. */
export async function drop(page, ...files) {
  const session = await page.context().newCDPSession(page);
  await page.locator("#drop").scrollIntoViewIfNeeded();
  const { x, y, width, height } = await page.locator("#drop").boundingBox();
  const data = { items: [], files, dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data });
  await session.detach();
}

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Serious and critical findings; run outside of the page's own world, since its policy lets no foreign script in. */
export async function findings(page) {
  await page.evaluate(await readFile(AXE, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
}

export function assertAllFrom(origin, requests) {
  assert.ok(requests.some((address) => address.endsWith(".wasm")), "requests of the worker are recorded");
  for (const address of requests) {
    assert.ok(address.startsWith(origin) || address.startsWith("blob:") || address.startsWith("data:"), `left the origin: ${address}`);
  }
}
