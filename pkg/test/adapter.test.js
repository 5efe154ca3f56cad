// A browser whose GPU process is being started anew offers no adapter for a moment.
import assert from "node:assert/strict";
import { test } from "node:test";
import { offeredAdapter } from "../dist/adapter.js";

/** What is given by a browser that answers so, and how often it was asked. */
async function offered(...answers) {
  let n = 0;
  const gpu = { requestAdapter: async () => answers[n++]() };
  Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
  return [await offeredAdapter(), n];
}
const card = {};
const [there, none, broken] = [() => card, () => null, () => Promise.reject(new Error("lost"))];

test("an adapter that is there is asked for once", async () => assert.deepEqual(await offered(there), [card, 1]));
test("one that comes a moment later is taken", async () => {
  assert.deepEqual(await offered(none, there), [card, 2]);
  assert.deepEqual(await offered(broken, there), [card, 2]);
});
test("where there is none, there is none", async () => {
  assert.deepEqual(await offered(none, none), [null, 2]);
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  assert.equal(await offeredAdapter(), null);
});
