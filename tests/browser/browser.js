// Starts what the tests need: the page's own server, and a Chromium that records every request it makes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Where pictures of the page are put, for people to look at. */
const pictures = `${root}target/screenshots`;

/** As root, in a container, off the net: no sandbox, no services of its own. */
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** WebGL in software, which Chromium no longer takes by itself. */
const WEBGL_FLAGS = ["--enable-unsafe-swiftshader"];

/** The machine's own graphics card, by Vulkan, when SCDIVA_ADAPTER is `card`; else Chromium's own software adapter, which it hides unless asked. */
export const isCard = process.env.SCDIVA_ADAPTER === "card";
const WEBGPU_FLAGS = isCard
  ? ["--enable-unsafe-webgpu", "--ignore-gpu-blocklist", "--use-angle=vulkan", "--enable-features=Vulkan", "--disable-vulkan-surface"]
  : ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/** `cargo xtask serve` on a free port, for a folder that is built already. */
export async function serve(folder) {
  const server = spawn("cargo", ["run", "--quiet", "--package", "xtask", "--", "serve", "--no-build", "--port", "0", "--folder", folder], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  const [origin] = await Promise.race([once(createInterface({ input: server.stdout }), "line"), failure(server)]);
  return { origin, stop: () => process.kill(-server.pid) };
}

async function failure(server) {
  const [code] = await once(server, "exit");
  throw new Error(`the server ended with ${code}`);
}

export async function launch({ webgpu, webgl = true, flags = [] }) {
  return chromium.launch({
    executablePath: process.env.SCDIVA_CHROMIUM ?? "/usr/bin/chromium",
    args: [...FLAGS, ...(webgl ? WEBGL_FLAGS : ["--disable-gpu"]), ...(webgpu ? WEBGPU_FLAGS : []), ...flags],
  });
}

/**
 * For a file of tests, from before its first until after its last: the `origin` of the page, or of what else is `served`, a `browser`, without
 * `webgpu` unless that is asked for, a `folder`. `prepare` gets them once they are there.
 */
export function stage(prepare = async () => undefined, { served = "www/dist", webgpu = false } = {}) {
  const stage = {};
  let server;
  before(async () => {
    server = await serve(served);
    stage.origin = server.origin;
    stage.folder = await mkdtemp(join(tmpdir(), "scdiva-browser-"));
    stage.browser = await launch({ webgpu });
    await prepare(stage);
  });
  after(async () => {
    await stage.browser.close();
    server.stop();
    await rm(stage.folder, { recursive: true });
  });
  return stage;
}

/** A new page that fails its test on any error in its console; `requests` fills with all addresses, those of its workers too. */
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  const page = await context.newPage();
  const requests = [];
  const problems = [];
  context.on("request", (request) => requests.push(request.url()));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(address);
  return { page, requests, problems, close: () => context.close() };
}

export async function picture(page, name) {
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
}
