// The worker's side, the same in a browser and in Node: a table of calls around the engine.

import type { ByteSource, Engine, Input } from "../dist/wasm/scdiva.js";
import type { ErrorCode } from "./error.js";
import type { CallName, Calls, Request, Response, Start, WireMatrix, WireSource } from "./protocol.js";
import type { FitReport, InputReport } from "./types.js";

export interface Wasm {
  Engine: typeof Engine;
  Input: typeof Input;
}

/** What differs between a browser and Node on this side. */
export interface WorkerHost {
  send(message: Response): void;
  /** The classes of the module, which is ready. */
  wasm(): Promise<Wasm>;
  source(wire: WireSource): ByteSource | Promise<ByteSource>;
}

/** Gives what takes the messages of the other side. */
export function serve(host: WorkerHost): (message: Start | Request) => Promise<void> {
  let cancel: Int32Array | undefined;
  let engine: Engine | undefined;
  let wasm: Wasm | undefined;

  const input = async ({ name, files, layer, geneColumn, species, minCounts }: WireMatrix) => {
    wasm ??= await host.wasm();
    const sources = await Promise.all(files.map((file) => host.source(file)));
    const names = files.map((file) => file.name);
    return new wasm.Input(name, names, sources, layer, geneColumn, species, minCounts);
  };

  const loaded = () => {
    if (!engine) throw new Error("no model is loaded");
    return engine;
  };
  const onProgress = (nDone: number, nCells: number) => {
    host.send({ progress: [nDone, nCells] });
    return !cancel || Atomics.load(cancel, 0) === 0;
  };

  const calls: { [Name in CallName]: (values: Calls[Name]["arguments"]) => Promise<Calls[Name]["answer"]> } = {
    async load({ name, files, device }) {
      wasm ??= await host.wasm();
      const sources = await Promise.all(files.map((file) => host.source(file)));
      const names = files.map((file) => file.name);
      engine = await wasm.Engine.open(name, names, sources, device);
      return camelCase(engine.info());
    },
    async inspect({ matrix }) {
      const wanted = await input(matrix);
      try {
        return camelCase(loaded().inspect(wanted));
      } finally {
        wanted.free();
      }
    },
    async annotate({ matrix, head, ...choices }) {
      const result = await loaded().annotate(await input(matrix), head, choices.minProbability, choices.tissue, onProgress);
      const { cells, labels, ontologyIds, label, probability, secondLabel, secondProbability } = result;
      const { minProbability, tissue, tissueDecision } = result;
      const [report, csv] = [camelCase<InputReport>(result.report), csvBlob(result.csv)];
      result.free();
      const decided = { minProbability, tissue, tissueDecision };
      return { cells, labels, ontologyIds, label, probability, secondLabel, secondProbability, ...decided, report, csv };
    },
    async embed({ matrix }) {
      const result = await loaded().embed(await input(matrix), onProgress);
      const { cells, nCols, values, emptyCells } = result;
      const [report, csv] = [camelCase<InputReport>(result.report), csvBlob(result.csv)];
      result.free();
      return { cells, nCols, values, emptyCells, report, csv };
    },
    async fitHead({ matrix, labelColumn, name }) {
      const result = await loaded().fitHead(await input(matrix), labelColumn, name, onProgress);
      const { labels } = result;
      const [report, file] = [camelCase<FitReport>(result.report), new Blob([result.file as Uint8Array<ArrayBuffer>])];
      result.free();
      return { ...report, name, labels, file };
    },
    async addHead({ name, file }) {
      loaded().addHead(name, await host.source(file));
      return undefined;
    },
    async forward({ geneIds, values, masked }) {
      const result = await loaded().forward(geneIds, values, masked ?? new Uint8Array(geneIds.length));
      const answer = { latent: result.latent, hidden: result.hidden, geneLogits: result.geneLogits, values: result.values };
      result.free();
      return answer;
    },
  };

  return async (message) => {
    if ("cancel" in message) {
      cancel = message.cancel;
      return;
    }
    try {
      const call = calls[message.call] as (values: unknown) => Promise<Calls[CallName]["answer"]>;
      host.send({ answer: await call(message.arguments) });
    } catch (error) {
      host.send({ error: { code: codeOf(error), message: error instanceof Error ? error.message : String(error) } });
    }
  };
}

/** Errors of the engine carry a code; anything else that is thrown here is a defect. */
function codeOf(error: unknown): ErrorCode {
  return error instanceof Error && "code" in error ? (error.code as ErrorCode) : "internal";
}

function csvBlob(bytes: Uint8Array): Blob {
  return new Blob([bytes as Uint8Array<ArrayBuffer>], { type: "text/csv" });
}

/** Rust's `n_cells` is JavaScript's `nCells`. */
function camelCase<T>(value: unknown): T {
  const convert = (value: unknown): unknown => {
    if (value instanceof Map) return convert(Object.fromEntries(value));
    if (Array.isArray(value)) return value.map(convert);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()), convert(item)]),
    );
  };
  return convert(value) as T;
}
