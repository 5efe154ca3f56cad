import { mini } from "../dist/models/mini.js";
import { ScDiVaError } from "./error.js";
import type { CallName, Calls, Connection, Host, Response, WireMatrix, WireSource } from "./protocol.js";
import type {
  AnnotateOptions,
  Annotation,
  DeviceChoice,
  Embedding,
  FitHeadOptions,
  FittedHead,
  ForwardInput,
  ForwardOutput,
  Info,
  InputOptions,
  Inspection,
  LoadOptions,
  MatrixFile,
  MatrixFiles,
  MatrixInput,
  Progress,
  TaskOptions,
} from "./types.js";

/** How long a cancelled task may take to end by itself, between two batches, before its worker is ended. */
const PATIENCE_MS = 3000;

interface Model {
  name: string;
  files: WireSource[];
  device: DeviceChoice;
}

interface Worker {
  connection: Connection;
  cancel: Int32Array | undefined;
  info: Info;
}

/** A model on a device, in a worker of its own. Tasks run one after another. */
export abstract class Client {
  readonly #host: Host;
  readonly #model: Model;
  #worker: Worker | undefined;
  #info: Info;
  #last: Promise<unknown> = Promise.resolve();
  #disposed = false;
  /** Heads that are not the model's, which a new worker must be given again. */
  readonly #heads = new Map<string, MatrixFile>();

  /** @internal */
  constructor(host: Host, model: Model, worker: Worker) {
    this.#host = host;
    this.#model = model;
    this.#worker = worker;
    this.#info = worker.info;
  }

  /** The device and the model in use. */
  get info(): Info {
    return { ...this.#info, model: { ...this.#info.model, ownHeads: [...this.#heads.keys()] } };
  }

  /**
   * What a file is to this model: which matrix, counts or not, species, genes found, what it says about its cells; and why it cannot be used, if
   * so. Reads a sample of it.
   */
  inspect(input: MatrixInput, options: InputOptions = {}): Promise<Inspection> {
    return this.#task("inspect", options, async () => ({ matrix: await this.#matrix(input, options) }));
  }

  /** Cell types of all cells of a file. */
  annotate(input: MatrixInput, options: AnnotateOptions = {}): Promise<Annotation> {
    const { head, minProbability, tissue } = options;
    return this.#task("annotate", options, async () => ({ matrix: await this.#matrix(input, options), head, minProbability, tissue }));
  }

  /** The cell embeddings of all cells of a file. */
  embed(input: MatrixInput, options: InputOptions = {}): Promise<Embedding> {
    return this.#task("embed", options, async () => ({ matrix: await this.#matrix(input, options) }));
  }

  /**
   * Fits a head on a reference, over the model as it is: cells whose types are known, in the obs column `labelColumn`. It can then be used as
   * `head: name`, until `dispose`; `file` is what `addHead` takes another time.
   */
  async fitHead(input: MatrixInput, options: FitHeadOptions): Promise<FittedHead> {
    const { labelColumn, name = "reference", ...reading } = options;
    const prepare = async () => ({ matrix: await this.#matrix(input, reading), labelColumn, name });
    const fitted = await this.#task("fitHead", reading, prepare);
    this.#heads.set(name, fitted.file);
    return fitted;
  }

  /** Takes the file of a head that was fitted on this model before, also by `scdiva fit`; it can then be used as `head: name`. */
  async addHead(name: string, file: MatrixFile): Promise<void> {
    await this.#task("addHead", {}, () => this.#head(name, file));
    this.#heads.set(name, file);
  }

  /** The forward pass on one cell's tokens: for checking a checkpoint against another program. */
  forward(input: ForwardInput): Promise<ForwardOutput> {
    return this.#task("forward", {}, async () => input);
  }

  /** Ends the worker and gives the device's memory back. Whatever still runs is rejected with `disposed`. */
  dispose(): void {
    this.#disposed = true;
    this.#end("disposed", "disposed");
  }

  async #matrix(input: MatrixInput, options: InputOptions): Promise<WireMatrix> {
    const { name = nameOf(input), signal, layer, geneColumn, species, minCounts } = options;
    if (minCounts !== undefined && !(Number.isInteger(minCounts) && minCounts >= 0 && minCounts < 2 ** 32)) {
      throw new ScDiVaError("argument", `minCounts: ${minCounts}, wanted a whole number from 0 on`);
    }
    const named = Object.entries(areFiles(input) ? input.files : await this.#host.files(input, name));
    if (named.length === 0) throw new ScDiVaError("argument", `${name}: no files`);
    const files = await Promise.all(named.map(([file, source]) => this.#host.source(source, file, () => undefined, signal)));
    return { name, files, layer, geneColumn, species, minCounts };
  }

  /** Runs a call after those before it. */
  #task<Name extends CallName>(name: Name, options: TaskOptions, prepare: () => Promise<Calls[Name]["arguments"]>): Promise<Calls[Name]["answer"]> {
    const run = async () => {
      options.signal?.throwIfAborted();
      const values = await prepare();
      if (this.#disposed) throw new ScDiVaError("disposed", "disposed");
      // A worker that had to be ended is replaced, with the same model on the same device.
      this.#worker ??= await this.#start(options.signal);
      this.#info = this.#worker.info;
      return await this.#call(this.#worker, name, values, options);
    };
    const result = this.#last.then(run, run).catch((error: unknown) => Promise.reject(asScDiVaError(error)));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #start(signal: AbortSignal | undefined): Promise<Worker> {
    const worker = await start(this.#host, this.#model, signal);
    for (const [name, file] of this.#heads) await this.#call(worker, "addHead", await this.#head(name, file), {});
    return worker;
  }

  async #head(name: string, file: MatrixFile): Promise<Calls["addHead"]["arguments"]> {
    return { name, file: await this.#host.source(file, name, () => undefined) };
  }

  async #call<Name extends CallName>(
    worker: Worker,
    name: Name,
    values: Calls[Name]["arguments"],
    options: TaskOptions,
  ): Promise<Calls[Name]["answer"]> {
    const { signal, onProgress } = options;
    if (worker.cancel) Atomics.store(worker.cancel, 0, 0);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const cancel = () => {
      if (worker.cancel) Atomics.store(worker.cancel, 0, 1);
      timer = setTimeout(() => this.#end("cancelled", "cancelled"), worker.cancel ? PATIENCE_MS : 0);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await request(worker.connection, name, values, onProgress && rate(onProgress), (fail) => (this.#fail = fail));
    } catch (error) {
      if (error instanceof ScDiVaError && error.code === "internal") this.#end("internal", error.message);
      throw error;
    } finally {
      this.#fail = undefined;
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Rejects the call that waits for the worker. */
  #fail: ((error: ScDiVaError) => void) | undefined;

  #end(code: "cancelled" | "disposed" | "internal", message: string): void {
    this.#worker?.connection.terminate();
    this.#worker = undefined;
    this.#fail?.(new ScDiVaError(code, message));
  }
}

/** Fetches or opens the model's files and brings them to a device in a new worker. */
export async function load(host: Host, options: LoadOptions): Promise<[Model, Worker]> {
  const { model = { name: "models/mini", files: mini }, device = "auto", onProgress, signal } = options;
  try {
    const files = await Promise.all(download(host, model.files, onProgress, signal));
    const wanted: Model = { name: model.name, files, device };
    return [wanted, await start(host, wanted, signal)];
  } catch (error) {
    throw asScDiVaError(error);
  }
}

function download(
  host: Host,
  files: NonNullable<LoadOptions["model"]>["files"],
  onProgress: LoadOptions["onProgress"],
  signal: AbortSignal | undefined,
): Promise<WireSource>[] {
  const names = Object.keys(files);
  const received = new Map<string, [bytes: number, total: number]>();
  return names.map((name) => {
    const tell = (bytes: number, total: number) => {
      received.set(name, [bytes, total]);
      const sums = [...received.values()].reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);
      const known = received.size === names.length && Number.isFinite(sums[1]);
      onProgress?.({ receivedBytes: sums[0], totalBytes: known ? sums[1] : undefined });
    };
    return host.source(files[name] as Blob, name, tell, signal);
  });
}

async function start(host: Host, model: Model, signal: AbortSignal | undefined): Promise<Worker> {
  signal?.throwIfAborted();
  const connection = host.connect();
  const cancel = host.sharesMemory() ? new Int32Array(new SharedArrayBuffer(4)) : undefined;
  connection.send({ cancel });
  let abort: (() => void) | undefined;
  try {
    const info = await request(connection, "load", model, undefined, (fail) => {
      abort = () => fail(new ScDiVaError("cancelled", "cancelled"));
      signal?.addEventListener("abort", abort, { once: true });
    });
    return { connection, cancel, info };
  } catch (error) {
    connection.terminate();
    throw error;
  } finally {
    if (abort) signal?.removeEventListener("abort", abort);
  }
}

/** Sends a request and waits for its answer; `onStart` gets what ends the waiting early. */
function request<Name extends CallName>(
  connection: Connection,
  call: Name,
  values: Calls[Name]["arguments"],
  onProgress: ((nDone: number, nCells: number) => void) | undefined,
  onStart: (fail: (error: ScDiVaError) => void) => void,
): Promise<Calls[Name]["answer"]> {
  return new Promise((resolve, reject) => {
    onStart(reject);
    connection.onFailure((message) => reject(new ScDiVaError("internal", message)));
    connection.onMessage((message: Response) => {
      if ("progress" in message) onProgress?.(...message.progress);
      else if ("error" in message) reject(new ScDiVaError(message.error.code, message.error.message));
      else resolve(message.answer);
    });
    connection.send({ call, arguments: values });
  });
}

/** Adds speed and time left to what the worker tells. */
function rate(onProgress: (progress: Progress) => void): (nDone: number, nCells: number) => void {
  let start: number | undefined;
  return (nDone, nCells) => {
    start ??= performance.now();
    const cellsPerSecond = nDone > 0 ? (1000 * nDone) / Math.max(performance.now() - start, 1e-3) : 0;
    const secondsLeft = nDone > 0 ? (nCells - nDone) / cellsPerSecond : undefined;
    onProgress({ nDone, nCells, cellsPerSecond, secondsLeft });
  };
}

function areFiles(input: MatrixInput): input is MatrixFiles {
  return typeof input === "object" && "files" in input;
}

function nameOf(input: MatrixInput): string {
  if (typeof input === "string") return input;
  return "name" in input ? String(input.name) : "matrix";
}

function asScDiVaError(error: unknown): ScDiVaError {
  if (error instanceof ScDiVaError) return error;
  if (error instanceof Error && error.name === "AbortError") return new ScDiVaError("cancelled", "cancelled");
  return new ScDiVaError("internal", error instanceof Error ? error.message : String(error));
}
