// A large file through the page: how long it takes, how smooth the page stays, and how much memory its renderer takes.
//
//     node tests/browser/large.js FILE [SCREENSHOT.png]
//
// Not one of the tests: 100,000 cells take minutes. On the processor, or with SCDIVA_ADAPTER=card on the graphics card.

import { execFileSync } from "node:child_process";
import { isCard, launch, open, serve } from "./browser.js";
import { lookedAt, modelReady } from "./page_support.js";

const [file, screenshot] = process.argv.slice(2);
if (!file) throw new Error("usage: node tests/browser/large.js FILE [SCREENSHOT.png]");
const server = await serve("www/dist");
const browser = await launch({ webgpu: isCard });
const { page, problems } = await open(browser, server.origin, { viewport: { width: 1200, height: 900 } });
const seconds = (since) => ((Date.now() - since) / 1000).toFixed(1);

let most = 0;
const memory = setInterval(() => {
  const sizes = execFileSync("ps", ["-eo", "rss,args"], { encoding: "utf8" }).split("\n").filter((line) => line.includes("type=renderer"));
  most = Math.max(most, ...sizes.map((line) => Number.parseInt(line, 10) / 1000));
}, 1000);
try {
  await modelReady(page);
  console.log(await page.textContent("#device-name"));
  await page.waitForSelector("#offline[data-ready]", { state: "attached" });
  await page.evaluate(() => {
    globalThis.gaps = [];
    let last = performance.now();
    const frame = (now) => {
      globalThis.gaps.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  const dropped = Date.now();
  await page.setInputFiles("#file", file);
  await lookedAt(page);
  console.log(`found after ${seconds(dropped)} s: ${await page.textContent("#found-summary")}`);
  const started = Date.now();
  await page.click("#annotate");
  await page.waitForSelector("#results:not([hidden]), #error:not([hidden])", { timeout: 0 });
  if (await page.isVisible("#error")) throw new Error(await page.textContent("#error-text"));
  console.log(`results after ${seconds(started)} s: ${await page.textContent("#summary")}`);
  await page.waitForSelector("#markers-table", { timeout: 0 });
  console.log(`markers after ${seconds(started)} s`);
  const gaps = (await page.evaluate(() => globalThis.gaps)).sort((a, b) => a - b);
  const at = (share) => gaps[Math.floor(share * (gaps.length - 1))].toFixed(1);
  console.log(`frames: ${gaps.length}; ${at(0.5)} ms at the median, ${at(0.95)} at the 95th percentile, ${at(0.999)} at the 99.9th, ${at(1)} at most`);
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
} finally {
  clearInterval(memory);
  console.log(`memory of the renderer: ${Math.round(most)} MB at most; errors: ${problems.length}`);
  await browser.close();
  server.stop();
}
