// The module worker of a browser.

import init, { Engine, Input, lastPanic } from "../dist/wasm/scdiva.js";
import { offeredAdapter } from "./adapter.js";
import type { Request, Start, WireSource } from "./protocol.js";
import { serve } from "./serve.js";

/** Of workers only, and so not among the types of the page. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

const { receive, failed } = serve({
  send: (message) => postMessage(message),
  async wasm() {
    await init();
    return { Engine, Input, lastPanic };
  },
  source: blobSource,
  adapter: offeredAdapter,
});
addEventListener("message", (event: MessageEvent<Start | Request>) => void receive(event.data));
// What the module throws while it goes on by itself, after a wait for the device, reaches no call.
addEventListener("error", (event) => {
  event.preventDefault();
  failed(event.error);
});

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
