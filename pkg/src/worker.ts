// The module worker of a browser.

import init, { Engine, Input } from "../dist/wasm/scdiva.js";
import type { Request, Start, WireSource } from "./protocol.js";
import { serve } from "./serve.js";

/** Of workers only, and so not among the types of the page. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

const receive = serve({
  send: (message) => postMessage(message),
  async wasm() {
    await init();
    return { Engine, Input };
  },
  source: blobSource,
});
addEventListener("message", (event: MessageEvent<Start | Request>) => void receive(event.data));

/** Reads slices of a blob at once, so that a file of many gigabytes never has to be in memory. */
function blobSource(wire: WireSource) {
  if ("path" in wire) throw new Error("a path, in a browser");
  const blob = "blob" in wire ? wire.blob : new Blob([wire.bytes as Uint8Array<ArrayBuffer>]);
  const reader = new FileReaderSync();
  return {
    size: blob.size,
    read: (offset: number, length: number) => new Uint8Array(reader.readAsArrayBuffer(blob.slice(offset, offset + length))),
  };
}
