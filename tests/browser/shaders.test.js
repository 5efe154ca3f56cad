// Every shader that a browser may be given, through Chromium's own compiler: the adapters of CI are given few of them to run.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { open, root, stage } from "./browser.js";

const at = stage(undefined, { served: ".", webgpu: true });

test("Chromium compiles every shader", async () => {
  execFileSync("cargo", ["test", "--quiet", "--test", "shaders", "what_browsers_compile"], { cwd: root, stdio: "inherit" });
  const shaders = JSON.parse(await readFile(`${root}target/shaders/shaders.json`, "utf8"));
  const { page, close } = await open(at.browser, new URL("/tests/browser/plain.html", at.origin).href);
  const { made, failed, withoutF16 } = await page.evaluate(async (shaders) => {
    const adapter = await navigator.gpu.requestAdapter();
    const hasF16 = adapter.features.has("shader-f16");
    const device = await adapter.requestDevice({
      requiredFeatures: hasF16 ? ["shader-f16"] : [],
      requiredLimits: { maxComputeWorkgroupStorageSize: adapter.limits.maxComputeWorkgroupStorageSize },
    });
    const made = [];
    const failed = [];
    const withoutF16 = [];
    for (let { name, entryPoint, source, overrides } of shaders) {
      if (source.includes("enable f16") && !hasF16) {
        // What is wrong but for the numbers' kind is seen all the same.
        withoutF16.push(name);
        source = source.replace("enable f16;", "").replaceAll("f16", "f32");
        entryPoint = entryPoint.replaceAll("f16", "f32");
      }
      const module = device.createShaderModule({ code: source });
      const said = (await module.getCompilationInfo()).messages.filter(({ type }) => type === "error");
      for (const { message, lineNum } of said) failed.push(`${name}, line ${lineNum}: ${message}`);
      if (said.length > 0) continue;
      try {
        const constants = Object.fromEntries(overrides.map((override) => [override, 1]));
        await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint, constants } });
        made.push(name);
      } catch (error) {
        failed.push(`${name}: ${error.message}`);
      }
    }
    return { made, failed, withoutF16 };
  }, shaders);
  if (withoutF16.length > 0) console.log(`NOT TESTED with f16, which this adapter lacks, but as f32: ${withoutF16.join(", ")}`);
  assert.deepEqual(failed, []);
  for (const name of ["linear_64", "linear_128", "linear_128.f16", "attention_64", "attention"]) assert.ok(made.includes(name), name);
  await close();
});
