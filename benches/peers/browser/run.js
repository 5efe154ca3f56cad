// A peer in Chromium: `node run.js MODEL CASE --peer ours|onnxruntime-web --device wasm|webgpu [--threads N] [--seconds S]`, where MODEL is a
// folder of target/peers. Prints one line of JSON. WebGPU is what tests/browser/browser.js asks
// Chromium for: its own software adapter, or the graphics card.

import { readdirSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { launch, open, serve } from "../../../tests/browser/browser.js";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: "string" },
    device: { type: "string" },
    threads: { type: "string", default: "1" },
    seconds: { type: "string", default: "2" },
  },
});
const [model, name] = positionals;
const threads = Number(options.threads);

/** The most memory that the page's process and the GPU process ever had, added up; Linux tells. */
function peakMemory() {
  const read = (pid, file) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "utf8");
    } catch {
      return "";
    }
  };
  const parent = (pid) => Number(/^PPid:\s+(\d+)/m.exec(read(pid, "status"))?.[1] ?? 0);
  const isOurs = (pid) => pid === process.pid || (pid > 1 && isOurs(parent(pid)));
  const pids = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).map(Number);
  const counted = pids.filter((pid) => /--type=(renderer|gpu-process)/.test(read(pid, "cmdline")) && isOurs(pid));
  return counted.reduce((sum, pid) => sum + 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(read(pid, "status"))?.[1] ?? 0), 0);
}

const server = await serve(".");
const browser = await launch({ webgpu: options.device === "webgpu", webgl: options.device === "webgpu" });
try {
  const address = new URL("/benches/peers/browser/page.html", server.origin).href;
  const { page } = await open(browser, address);
  page.setDefaultTimeout(0);
  await page.waitForFunction(() => "measure" in globalThis);
  const work = { model, name, seconds: Number(options.seconds), peer: options.peer, device: options.device, threads };
  const measured = await page.evaluate((work) => globalThis.measure(work), work);
  const chromium = `Chromium ${browser.version()}`;
  console.log(
    JSON.stringify({
      ...measured,
      peer: options.peer === "ours" ? "ours (npm)" : options.peer,
      device: `${chromium}, ${measured.device}`,
      threads: options.device === "wasm" ? threads : null,
      peak_memory_bytes: peakMemory(),
    }),
  );
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
  server.stop();
}
