// The npm package in Chromium, loaded by a plain page without a bundler: the forward pass against numpy in float64.

import assert from "node:assert/strict";
import { test } from "node:test";
import { golden } from "../../pkg/test/golden.js";
import { open, stage } from "./browser.js";

const at = stage(undefined, { served: ".", webgpu: true });

const base64 = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

const all = ["one_gene_masked", "all_padding", "short_odd", "half_masked", "half_padding", "other_theta", "long", "released_width"];
// Weights in f16 have 11 bits.
for (const [device, precision, names, most] of [["gpu", "f32", all, 2e-4], ["gpu", "f16", ["short_odd", "released_width"], 1e-2], ["cpu", "auto", all, 2e-4]]) {
  for (const name of names) {
    test(`forward agrees with numpy float64 on the ${device} with precision ${precision}: ${name}`, async () => {
      const { files, cell, errors } = golden(name);
      const { page, close } = await open(at.browser, new URL("/tests/browser/plain.html", at.origin).href);
      await page.waitForFunction(() => "ScDiVa" in globalThis);
      const answer = await page.evaluate(
        async ({ device, precision, files, geneIds, values, masked }) => {
          const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const model = { name: "random", files: Object.fromEntries(Object.entries(files).map(([name, text]) => [name, bytes(text)])) };
          const scdiva = await globalThis.ScDiVa.load({ model, device, precision });
          const cell = { geneIds: new Uint32Array(geneIds), values: new Float32Array(values), masked: new Uint8Array(masked) };
          const answer = await scdiva.forward(cell);
          const kind = scdiva.info.device.kind;
          scdiva.dispose();
          return { kind, ...Object.fromEntries(Object.entries(answer).map(([part, numbers]) => [part, Array.from(numbers)])) };
        },
        {
          device,
          precision,
          files: Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, base64(bytes)])),
          geneIds: Array.from(cell.geneIds),
          values: Array.from(cell.values),
          masked: Array.from(cell.masked),
        },
      );
      assert.equal(answer.kind, device);
      for (const [part, error] of Object.entries(errors(answer))) assert.ok(error < most, `${part}: ${error}`);
      // A request that changes nothing would pass too.
      if (precision === "f16" && name === "released_width") assert.ok(errors(answer).latent > 1e-5, "nothing was rounded");
      await close();
    });
  }
}
