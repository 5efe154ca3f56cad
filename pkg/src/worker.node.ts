// The worker thread of Node.

import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parentPort } from "node:worker_threads";
import { Engine, Input, initSync } from "../dist/wasm/scdiva.js";
import type { WireSource } from "./protocol.js";
import { serve } from "./serve.js";

const receive = serve({
  send: (message) => parentPort?.postMessage(message),
  async wasm() {
    const path = fileURLToPath(new URL("./wasm/scdiva_bg.wasm", import.meta.url));
    initSync({ module: readFileSync(path) });
    return { Engine, Input };
  },
  source,
});
parentPort?.on("message", (message) => void receive(message));

const openFiles = new FinalizationRegistry<number>((file) => closeSync(file));

async function source(wire: WireSource) {
  if ("path" in wire) return fileSource(wire.path);
  if ("blob" in wire) throw new TypeError(`${wire.name}: a blob, where bytes or a path are sent`);
  const { bytes } = wire;
  return { size: bytes.length, read: (offset: number, length: number) => bytes.subarray(offset, offset + length) };
}

function fileSource(path: string) {
  const file = openSync(path, "r");
  const source = {
    size: fstatSync(file).size,
    read(offset: number, length: number) {
      const bytes = new Uint8Array(length);
      let n = 0;
      while (n < length) {
        const more = readSync(file, bytes, n, length - n, offset + n);
        if (more === 0) throw new Error(`${path}: ended at byte ${offset + n}`);
        n += more;
      }
      return bytes;
    },
  };
  openFiles.register(source, file);
  return source;
}
