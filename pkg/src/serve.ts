// The worker's side, the same in a browser and in Node: a table of calls around the engine.

import type { Analysis, ByteSource, Engine, Input, lastPanic } from "../dist/wasm/scdiva.js";
import type { ErrorCode } from "./error.js";
import type { AnalysisData, CallName, Calls, Pieces, Request, Response, Start, WireMatrix, WireSource } from "./protocol.js";
import type { CellColumn, DotPlot, FitReport, InputReport, Inspection, Marker } from "./types.js";

export interface Wasm {
  Engine: typeof Engine;
  Input: typeof Input;
  lastPanic: typeof lastPanic;
}

/** What differs between a browser and Node on this side. */
export interface WorkerHost {
  send(message: Response): void;
  /** What the module exports; it is ready. */
  wasm(): Promise<Wasm>;
  source(wire: WireSource): ByteSource | Promise<ByteSource>;
  /** Ends once the system offers a graphics card, or will not. */
  adapter?(): Promise<unknown>;
}

/** Gives what takes the messages of the other side, and what takes errors that nobody caught. */
export function serve(host: WorkerHost): { receive(message: Start | Request): Promise<void>; failed(error: unknown): void } {
  let cancel: Int32Array | undefined;
  let engine: Engine | undefined;
  let wasm: Wasm | undefined;

  const input = async ({ name, files, samples, layer, geneColumn, species, minCounts }: WireMatrix) => {
    wasm ??= await host.wasm();
    const sources = await Promise.all(files.map((file) => host.source(file)));
    const names = files.map((file) => file.name);
    const own = new wasm.Input(name, names, sources, layer, geneColumn, species, minCounts);
    if (samples.length > 0) {
      own.setSamples(
        samples.map((sample) => sample.name),
        Uint32Array.from(samples, ({ nFiles }) => nFiles),
      );
    }
    return own;
  };

  const loaded = () => {
    if (!engine) throw new Error("no model is loaded");
    return engine;
  };
  const onStage = (stage: string, nDone: number, nCells: number) => {
    host.send({ progress: [stage, nDone, nCells] });
    return !cancel || Atomics.load(cancel, 0) === 0;
  };
  const onProgress = (nDone: number, nCells: number) => onStage("annotate", nDone, nCells);
  const onBatch = (
    from: number,
    cells: string[],
    labels: string[],
    label: Int32Array,
    probability: Float32Array,
    secondLabel: Int32Array,
    secondProbability: Float32Array,
  ) => host.send({ batch: { from, cells, labels, label, probability, secondLabel, secondProbability } });

  const analyses = new Map<number, Analysis>();
  let lastId = 0;
  const analysis = (id: number) => {
    const open = analyses.get(id);
    if (!open) throw new Error(`no analysis ${id}`);
    return open;
  };

  const calls: { [Name in CallName]: (values: Calls[Name]["arguments"]) => Promise<Calls[Name]["answer"]> } = {
    async load({ name, files, device, precision }) {
      const adapter = device === "cpu" ? undefined : host.adapter?.();
      wasm ??= await host.wasm();
      await adapter;
      const sources = await Promise.all(files.map((file) => host.source(file)));
      const names = files.map((file) => file.name);
      engine = await wasm.Engine.open(name, names, sources, device, precision);
      return camelCase(engine.info());
    },
    inspect: async ({ matrix }) => camelCase(loaded().inspect(await input(matrix))),
    async annotate({ matrix, head, ...choices }) {
      const result = await loaded().annotate(await input(matrix), head, choices.minProbability, choices.tissue, onProgress);
      const { cells, labels, ontologyIds, label, probability, secondLabel, secondProbability } = result;
      const { minProbability, tissue, tissueDecision } = result;
      const [report, csv] = [camelCase<InputReport>(result.report), csvBlob(result.csv)];
      result.free();
      const decided = { minProbability, tissue, tissueDecision };
      return { cells, labels, ontologyIds, label, probability, secondLabel, secondProbability, ...decided, report, csv };
    },
    async annotateBatches({ matrix, head, tissue }) {
      await loaded().annotateBatches(await input(matrix), head, tissue, onProgress, onBatch);
      return null;
    },
    async analyse({ matrix, head, minProbability, tissue, vote, groups, umap }) {
      const made = await loaded().analyse(await input(matrix), head, minProbability, tissue, vote, groups, umap, onStage, onBatch);
      const data = made.data() as AnalysisData;
      analyses.set(++lastId, made);
      const [report, inspection] = [camelCase<InputReport>(data.report), camelCase<Inspection>(data.inspection)];
      return { id: lastId, data: { ...data, report, inspection } };
    },
    gene: async ({ id, name }) => analysis(id).gene(name, onStage),
    column: async ({ id, name }) => analysis(id).column(name) as CellColumn,
    embedding: async ({ id, name }) => analysis(id).embedding(name),
    markers: async ({ id, groups, nGroups, n }) => analysis(id).markers(groups, nGroups, n, onStage) as Marker[][],
    dotPlot: async ({ id, genes, groups, nGroups }) => analysis(id).dotPlot(genes, groups, nGroups, onStage) as DotPlot,
    csv: async ({ id, minProbability }) => csvBlob(analysis(id).csv(minProbability)),
    async h5ad({ id, minProbability }) {
      const pieces: Pieces["pieces"] = [];
      // Each is a blob as soon as it comes: a browser need not keep blobs in memory.
      const onPiece = (at: number, bytes: Uint8Array<ArrayBuffer>) => pieces.push({ at, blob: new Blob([bytes]) });
      const { size, onOriginal } = analysis(id).h5ad(minProbability, onStage, onPiece) as Omit<Pieces, "pieces">;
      return { size, onOriginal, pieces };
    },
    async close({ id }) {
      analyses.get(id)?.free();
      analyses.delete(id);
      return null;
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

  /** What the running call is about. */
  let subject: string | undefined;
  const failed = (error: unknown, nKept: () => number = () => 0) => {
    const { code, message, isLast } = explained(error, wasm, subject);
    host.send({ error: { code, message, nKept: isLast ? 0 : nKept(), isLast } });
  };

  const receive = async (message: Start | Request) => {
    if ("cancel" in message) {
      cancel = message.cancel;
      return;
    }
    const values = message.arguments;
    subject = "matrix" in values ? values.matrix.name : message.call === "load" ? (values as Calls["load"]["arguments"]).name : undefined;
    try {
      const call = calls[message.call] as (values: unknown) => Promise<Calls[CallName]["answer"]>;
      host.send({ answer: await call(message.arguments) });
    } catch (error) {
      failed(error, () => (message.call === "analyse" ? (engine?.nUnfinished ?? 0) : 0));
    }
  };
  return { receive, failed: (error) => failed(error) };
}

/** `isLast`: the module gave up, so that nothing it keeps can be trusted or freed. */
type Explained = { code: ErrorCode; message: string; isLast: boolean };

/** Errors of the engine carry a code; anything else that is thrown here is a defect, or came for lack of memory. */
function explained(error: unknown, wasm: Wasm | undefined, subject = "scdiva"): Explained {
  const message = error instanceof Error ? error.message : String(error);
  const noMemory = { code: "memory", message: `${subject}: there is not as much memory as it takes`, isLast: true } as const;
  if (error instanceof WebAssembly.RuntimeError && /unreachable/i.test(message)) {
    const panic = wasm?.lastPanic();
    // Without a panic an allocation failed; "capacity overflow" is one of 2 GiB or more.
    return panic === undefined || panic.includes("capacity overflow") ? noMemory : { code: "internal", message: panic, isLast: true };
  }
  // The module itself, or a buffer for its answers.
  if (error instanceof RangeError && /memory|allocat|buffer/i.test(message)) return noMemory;
  if (error instanceof Error && "code" in error) return { code: error.code as ErrorCode, message, isLast: false };
  return { code: "internal", message, isLast: true };
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
