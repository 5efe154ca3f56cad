// That nothing leaves the machine, that the page works without a network, and models of the visitor's own.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { root } from "../../pkg/test/command.js";
import { open, picture, serve, stage } from "./browser.js";
import { annotate, assertAllFrom, compareAll, ended, modelReady, smallMatrix, WAIT } from "./page_support.js";

const at = stage();

const kept = (page) => page.waitForSelector("#offline[data-ready]", { state: "attached", ...WAIT });

test("after the file is opened nothing is asked for, and the page says so", async () => {
  const { page, requests, problems, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await kept(page);
  const before = requests.length;
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await annotate(page);
  await compareAll(page);
  assert.deepEqual(requests.slice(before).filter((address) => !address.startsWith("blob:")), []);
  assertAllFrom(at.origin, requests);
  assert.match(await page.textContent("#requests"), /^\d+ requests so far, all to this site; none since your file was opened\.$/);
  await page.click("#private-summary");
  await picture(page, "private");
  const traces = await page.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length]);
  assert.deepEqual(traces, ["", 0, 0]);
  assert.deepEqual(problems, []);
  await close();
});

test("the security policy lets nothing out, whoever asks", async () => {
  const { page, close } = await open(at.browser, at.origin);
  let reached = 0;
  const other = createServer((_, response) => {
    reached++;
    response.end();
  }).listen(0, "127.0.0.1");
  await once(other, "listening");
  const elsewhere = `http://127.0.0.1:${other.address().port}/`;
  const refused = await page.evaluate(async (address) => {
    const violations = [];
    addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
    await fetch(address).catch(() => undefined);
    navigator.sendBeacon(address, "x");
    const image = new Image();
    await new Promise((resolve) => {
      image.onerror = resolve;
      image.src = address;
    });
    document.body.append(Object.assign(document.createElement("script"), { textContent: "globalThis.inline = true" }));
    setTimeout("globalThis.evaluated = true");
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { violations, inline: globalThis.inline ?? false, evaluated: globalThis.evaluated ?? false };
  }, elsewhere);
  assert.ok(refused.violations.filter((directive) => directive === "connect-src").length >= 2, refused.violations.join());
  assert.ok(refused.violations.includes("img-src") && refused.violations.some((directive) => directive.startsWith("script-src")), refused.violations.join());
  assert.ok(!refused.inline && !refused.evaluated);
  assert.equal(reached, 0);
  other.close();
  await close();
});

test("without a network it loads again, and annotates", async () => {
  const { page, problems, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await kept(page);
  assert.match(await page.textContent("#offline"), /^Works offline now/);
  await page.context().setOffline(true);
  await page.reload();
  await modelReady(page);
  assert.match(await page.textContent("#device-name"), /^Processor: /);
  await page.click("#demo");
  await ended(page);
  assert.match(await page.textContent("#summary"), /240 cells, 8 cell types/);
  assert.deepEqual(problems, []);
  await close();
});

test("what else lies beside the page is not answered with the page", async () => {
  const { page, close } = await open(at.browser, at.origin);
  await modelReady(page);
  await kept(page);
  const there = async (path) => {
    await page.goto(new URL(path, at.origin).href).catch(() => undefined);
    return (await page.locator("#drop").count()) === 1;
  };
  assert.ok(await there("/index.html"));
  assert.ok(await there("/?device=cpu"));
  assert.ok(!(await there("/docs/api.html")));
  assert.ok(!(await there("/assets/")));
  await close();
});

test("a model of one's own is kept, checked when it is loaded, and removed", async () => {
  const { page, close } = await open(at.browser, at.origin);
  const mine = join(at.folder, "mymodel");
  await cp(join(root, "models/mini"), mine, { recursive: true });
  await page.click("#model-short");
  await page.setInputFiles("#model-folder", mine);
  await page.waitForFunction(() => /mymodel is stored/.test(document.querySelector("#model-status").textContent), null, WAIT);
  await page.waitForURL(/model=mymodel/, WAIT);
  await modelReady(page);
  assert.match(await page.textContent("#models"), /mymodel.*SHA-256 of the weights [0-9a-f]{12}/);
  await picture(page, "models");
  await page.reload();
  await modelReady(page);
  assert.equal(await page.textContent("#model-short"), "Model: mymodel");
  await page.setInputFiles("#file", await smallMatrix(at.folder));
  await annotate(page);
  assert.match(await page.textContent("#methods-text"), /SHA-256 of the model [0-9a-f]{16}/);

  await page.evaluate(async () => {
    const place = await (await (await navigator.storage.getDirectory()).getDirectoryHandle("models")).getDirectoryHandle("mymodel");
    const file = await (await place.getFileHandle("model.safetensors")).createWritable({ keepExistingData: true });
    await file.write({ type: "write", position: 5000, data: new Uint8Array([1, 2, 3]) });
    await file.close();
  });
  await page.reload();
  await modelReady(page);
  assert.match(await page.textContent("#device-name"), /could not be loaded/);
  assert.match(await page.textContent("#device-hint"), /mymodel\/model\.safetensors: SHA-256 [0-9a-f]{64}; wanted [0-9a-f]{64}/);

  await page.click("#model-short");
  await page.click("text=Remove");
  await page.waitForFunction(() => document.querySelector("#model-short").textContent === "Model: mini", null, WAIT);
  await page.waitForFunction(() => /^Processor/.test(document.querySelector("#device-name").textContent), null, WAIT);
  assert.doesNotMatch(page.url(), /model=/);

  await rm(join(mine, "vocab.tsv"));
  await page.setInputFiles("#model-folder", mine);
  await page.waitForFunction(() => /mymodel: no model; its folder lacks vocab\.tsv/.test(document.querySelector("#model-status").textContent), null, WAIT);
  await close();
});

test("a model comes from an address of the page's own site, checked by its list, and from no other site", async () => {
  const site = join(at.folder, "site");
  await cp(join(root, "www/dist"), site, { recursive: true });
  const [plain, listed] = ["plain", "listed"].map((name) => join(site, "lab", name));
  for (const to of [plain, listed]) await cp(join(root, "models/mini"), to, { recursive: true });
  const paths = ["config.json", "model.safetensors", "vocab.tsv", "heads/cell_types.safetensors"];
  const list = await Promise.all(
    paths.map(async (path) => {
      const bytes = await readFile(join(listed, path));
      return { path, size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    }),
  );
  await writeFile(join(listed, "scdiva.json"), JSON.stringify(list));
  const own = await serve(site);
  const { page, requests, close } = await open(at.browser, `${own.origin}/?add-model=lab/listed`, { serviceWorkers: "block" });
  const says = (pattern) => page.waitForFunction((text) => new RegExp(text).test(document.querySelector("#model-status").textContent), pattern, WAIT);
  const add = async (address) => {
    await page.fill("#model-address", address);
    await page.press("#model-address", "Enter");
  };
  try {
    await says("^listed is stored in this browser");
    // Until it is there the model of before is, and is ready.
    await page.waitForURL(/\?model=listed$/, WAIT);
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /^Processor/);
    assert.equal(await page.textContent("#model-short"), "Model: listed");

    await add("lab/plain/config.json");
    await says("^plain is stored");
    assert.match(await page.textContent("#models"), /plain/);
    await picture(page, "model-address");

    await add("https://example.org/models/immune/");
    await says("example\\.org/models/immune/: on another site, and this page connects to no site but its own");
    await add("lab/nothing");
    await says("nothing: no model; its folder lacks config\\.json, model\\.safetensors, vocab\\.tsv");
    await writeFile(join(listed, "scdiva.json"), JSON.stringify(list.map((file) => ({ ...file, sha256: "0".repeat(64) }))));
    await add("lab/listed/");
    await says("^listed/config\\.json: SHA-256 [0-9a-f]{64}; its list wants 0{64}");
    await writeFile(join(listed, "scdiva.json"), '[{"path": "readme.txt", "size": 1, "sha256": ""}]');
    await add("lab/listed");
    await says("scdiva\\.json: entry 0: readme\\.txt is no file of a model");

    // The same once more is the same; another one of that name gets a name of its own.
    await add("lab/plain/");
    await says("^plain is stored");
    const other = join(site, "lab", "other", "plain");
    await cp(plain, other, { recursive: true });
    await writeFile(join(other, "config.json"), `${await readFile(join(other, "config.json"), "utf8")}\n`);
    await add("lab/other/plain");
    await says("^plain-2 is stored");
    await page.waitForURL(/\?model=plain-2$/, WAIT);
    await modelReady(page);
    assert.deepEqual(await page.$$eval("#models button", (buttons) => buttons.map((made) => made.ariaLabel)), ["listed", "plain", "plain-2"].map((name) => `Remove the model ${name}`));
    await page.click("#models >> text=plain 6");
    await page.waitForURL(/\?model=plain$/, WAIT);
    await modelReady(page);

    await page.route("**/lab/plain/vocab.tsv", () => undefined);
    await add("lab/plain");
    await page.click("#model-cancel");
    await says("^Cancelled: no model was added");
    assert.ok(await page.isHidden("#model-cancel"));
    // What was stored before is whole.
    await page.reload();
    await modelReady(page);
    assert.match(await page.textContent("#device-name"), /^Processor/);
    assert.equal(await page.textContent("#model-short"), "Model: plain");
    assertAllFrom(own.origin, requests);
  } finally {
    await close();
    own.stop();
  }
});

test("the first view is small", async () => {
  const dist = join(root, "www/dist");
  const html = await readFile(join(dist, "index.html"), "utf8");
  const names = [...html.matchAll(/(?:src|href)="(?:\.\/)?([^"#:]+\.(?:js|css|svg))"/g)].map(([, name]) => name);
  assert.ok(names.some((name) => name.endsWith(".js")) && names.some((name) => name.endsWith(".css")), names.join());
  const worker = (await readdir(join(dist, "assets"))).find((name) => name.startsWith("worker-"));
  const sizes = await Promise.all(["index.html", ...names, `assets/${worker}`].map(async (name) => gzipSync(await readFile(join(dist, name))).length));
  const total = sizes.reduce((a, b) => a + b);
  console.log(`first view: ${Math.round(total / 1000)} kB after gzip, before the module and the model`);
  assert.ok(total < 300_000, `${total} bytes`);
});
