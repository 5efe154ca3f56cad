// The worker thread of Node.

import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parentPort } from "node:worker_threads";
import { Engine, Input, initSync, lastPanic } from "../dist/wasm/scdiva.js";
import type { WireSource } from "./protocol.js";
import { serve } from "./serve.js";

const { receive, failed } = serve({
  send: (message) => parentPort?.postMessage(message),
  async wasm() {
    const path = fileURLToPath(new URL("./wasm/scdiva_bg.wasm", import.meta.url));
    initSync({ module: readFileSync(path) });
    return { Engine, Input, lastPanic };
  },
  source,
});
parentPort?.on("message", (message) => void receive(message));
// What the module throws while it goes on by itself reaches no call.
process.on("uncaughtException", failed);

async function source(wire: WireSource) {
  if ("path" in wire) return fileSource(wire.path);
  if ("blob" in wire) throw new TypeError(`${wire.name}: a blob, where bytes or a path are sent`);
  const { bytes } = wire;
  return { size: bytes.length, read: (offset: number, length: number) => bytes.subarray(offset, offset + length) };
}

/** A file that is open only while it is read: a Zarr store has more files than a process may have open. */
function fileSource(path: string) {
  return {
    size: system(path, () => statSync(path)).size,
    read: (offset: number, length: number) => system(path, () => readFrom(path, offset, length)),
  };
}

function readFrom(path: string, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const file = openSync(path, "r");
  try {
    for (let n = 0; n < length; ) {
      const more = readSync(file, bytes, n, length - n, offset + n);
      if (more === 0) throw new Error(`ended at byte ${offset + n}`);
      n += more;
    }
  } finally {
    closeSync(file);
  }
  return bytes;
}

/** What the system refuses is an error of code `io`, not of the system's own code. */
function system<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw Object.assign(new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`), { code: "io" });
  }
}
