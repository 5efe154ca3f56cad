import { mini } from "../dist/models/mini.js";
import { openAnalysis } from "./analysis.js";
import { type ErrorCode, ScDiVaError } from "./error.js";
import type { CallName, Calls, Connection, Host, Response, WireMatrix, WireSource } from "./protocol.js";
import { type Listening, rate, told } from "./telling.js";
import type {
  AnalyseOptions,
  Analysis,
  AnalysisStage,
  AnnotateOptions,
  Annotation,
  AnnotationBatch,
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
  MatrixSamples,
  Precision,
} from "./types.js";

/** How long a cancelled task may take to end by itself, between two batches, before its worker is ended. */
const PATIENCE_MS = 3000;

interface Model {
  name: string;
  files: WireSource[];
  device: DeviceChoice;
  precision: Precision;
}

/** After it the worker is of no use. */
class LastError extends ScDiVaError {}

interface Worker {
  connection: Connection;
  cancel: Int32Array | undefined;
  info: Info;
  /** Analyses that it keeps open. */
  nOpen: number;
}

/** A model on a device, in a worker of its own. Tasks run one after another. */
export abstract class Client {
  readonly #host: Host;
  readonly #model: Model;
  #worker: Worker | undefined;
  #info: Info;
  #last: Promise<unknown> = Promise.resolve();
  #disposed = false;
  /** Ends the start of a worker that replaces another. */
  #starting: AbortController | undefined;
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
  async inspect(input: MatrixInput, options: InputOptions = {}): Promise<Inspection> {
    checkOptions(options);
    const looked = this.#task(options.signal, async (worker) => {
      const matrix = await this.#matrix(input, options);
      // With the worker, analyses that are open would end; and a look is soon over.
      return await this.#call(worker, "inspect", { matrix }, told(options), worker.nOpen === 0);
    });
    try {
      return await orAborted(looked, options.signal);
    } catch (error) {
      throw asScDiVaError(error, options.signal);
    }
  }

  /** Cell types of all cells of a file. */
  async annotate(input: MatrixInput, options: AnnotateOptions = {}): Promise<Annotation> {
    checkOptions(options);
    const { head, minProbability, tissue, signal } = options;
    return this.#task(signal, async (worker) => {
      const matrix = await this.#matrix(input, options);
      return await this.#call(worker, "annotate", { matrix, head, minProbability, tissue }, told(options));
    });
  }

  /**
   * The same as they come, some hundred cells at a time, in the order of the file:
   *
   * ```js
   * for await (const { cells, labels, label } of scdiva.annotateBatches(file)) console.log(cells[0], labels[label[0]]);
   * ```
   *
   * The worker does not wait for the loop. Leaving the loop ends the task.
   */
  async *annotateBatches(
    input: MatrixInput,
    options: Omit<AnnotateOptions, "minProbability"> = {},
  ): AsyncGenerator<AnnotationBatch, void, void> {
    checkOptions(options);
    const left = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    const batches: AnnotationBatch[] = [];
    let wake = () => {};
    let ended = false;
    const onBatch = (batch: AnnotationBatch) => {
      batches.push(batch);
      wake();
    };
    const task = this.#task(signal, async (worker) => {
      const matrix = await this.#matrix(input, options);
      const { head, tissue } = options;
      return await this.#call(worker, "annotateBatches", { matrix, head, tissue }, { ...told(options), signal, onBatch });
    });
    const end = () => {
      ended = true;
      wake();
    };
    task.then(end, end);
    try {
      while (!ended || batches.length > 0) {
        const batch = batches.shift();
        if (batch) yield batch;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      await task;
    } finally {
      left.abort();
    }
  }

  /**
   * Annotates a file and looks at its cells as a whole: groups that vote, a layout in two dimensions. The file stays open for questions
   * (genes, columns, markers, tables) until the analysis, or all of this, is disposed of.
   */
  async analyse(input: MatrixInput, options: AnalyseOptions = {}): Promise<Analysis> {
    checkOptions(options);
    const { head, minProbability, tissue, vote = true, groups, umap = true, signal, onProgress, onBatch } = options;
    const onStage = onProgress && rate((stage, progress) => onProgress({ stage: stage as AnalysisStage, ...progress }));
    return this.#task(signal, async (worker) => {
      const matrix = await this.#matrix(input, options);
      const wanted = { matrix, head, minProbability, tissue, vote, groups, umap };
      const { id, data } = await this.#call(worker, "analyse", wanted, { signal, onStage, onBatch });
      worker.nOpen++;
      return openAnalysis(matrix.name, data, {
        ask: (name, question, listening = {}) => {
          if (name === "close") worker.nOpen--;
          return this.#ask(worker, name, { id, ...question } as Calls[typeof name]["arguments"], listening);
        },
        // Only a matrix of one file is asked for.
        original: () => this.#host.blob(matrix.files[0] as WireSource),
      });
    });
  }

  /** The cell embeddings of all cells of a file. */
  async embed(input: MatrixInput, options: InputOptions = {}): Promise<Embedding> {
    checkOptions(options);
    return this.#task(options.signal, async (worker) => {
      const matrix = await this.#matrix(input, options);
      return await this.#call(worker, "embed", { matrix }, told(options));
    });
  }

  /**
   * Fits a head on a reference, over the model as it is: cells whose types are known, in the obs column `labelColumn`. It can then be used as
   * `head: name`, until `dispose`; `file` is what `addHead` takes another time.
   */
  async fitHead(input: MatrixInput, options: FitHeadOptions): Promise<FittedHead> {
    checkOptions(options);
    const { labelColumn, name = "reference", ...reading } = options;
    if (typeof labelColumn !== "string") throw new ScDiVaError("argument", `labelColumn: ${String(labelColumn)}; wanted the obs column that holds the types`);
    const fitted = await this.#task(reading.signal, async (worker) => {
      const matrix = await this.#matrix(input, reading);
      return await this.#call(worker, "fitHead", { matrix, labelColumn, name }, told(reading));
    });
    this.#heads.set(name, fitted.file);
    return fitted;
  }

  /** Takes the file of a head that was fitted on this model before, also by `scdiva fit`; it can then be used as `head: name`. */
  async addHead(name: string, file: MatrixFile): Promise<void> {
    await this.#task(undefined, async (worker) => this.#call(worker, "addHead", await this.#head(name, file), {}));
    this.#heads.set(name, file);
  }

  /** The forward pass on one cell's tokens: for checking a checkpoint against another program. */
  forward(input: ForwardInput): Promise<ForwardOutput> {
    return this.#task(undefined, (worker) => this.#call(worker, "forward", input, {}));
  }

  /** Ends the worker and gives the device's memory back. Whatever still runs is rejected with `disposed`. */
  dispose(): void {
    this.#disposed = true;
    this.#starting?.abort();
    this.#end("disposed", "disposed");
  }

  async #matrix(input: MatrixInput, options: Omit<InputOptions, "onProgress">): Promise<WireMatrix> {
    if (typeof input !== "string" && (typeof input !== "object" || input === null)) {
      throw new ScDiVaError("argument", `the matrix is ${String(input)}; wanted a File, a Blob, bytes, in Node a path, or { name, files }`);
    }
    const { name = nameOf(input), signal, layer, geneColumn, species, minCounts } = options;
    if (minCounts !== undefined && !(Number.isInteger(minCounts) && minCounts >= 0 && minCounts < 2 ** 32)) {
      throw new ScDiVaError("argument", `minCounts: ${minCounts}, wanted a whole number from 0 on`);
    }
    const wanted = { name, layer, geneColumn, species, minCounts };
    if (!areSamples(input)) return { ...wanted, files: await this.#files(input, name, signal), samples: [] };
    const named = Object.entries(input.samples);
    if (named.length === 0) throw new ScDiVaError("argument", `${name}: no samples`);
    const files = await Promise.all(named.map(([sample, own]) => this.#files(own, nameOf(own, sample), signal)));
    return { ...wanted, files: files.flat(), samples: named.map(([sample], i) => ({ name: sample, nFiles: files[i]?.length ?? 0 })) };
  }

  async #files(input: MatrixFile | MatrixFiles, name: string, signal: AbortSignal | undefined): Promise<WireSource[]> {
    const named = Object.entries(areFiles(input) ? input.files : await this.#host.files(input, name));
    if (named.length === 0) throw new ScDiVaError("argument", `${name}: no files`);
    return Promise.all(named.map(([file, source]) => this.#host.source(source, file, () => undefined, signal)));
  }

  /** Runs something after all before it. */
  #queue<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #start(signal: AbortSignal | undefined): Promise<Worker> {
    const { signal: ended } = (this.#starting = new AbortController());
    const worker = await start(this.#host, this.#model, signal ? AbortSignal.any([signal, ended]) : ended);
    try {
      // It is not the one in use yet, which `#call` wants.
      for (const [name, file] of this.#heads) {
        await request(worker.connection, "addHead", await this.#head(name, file), {}, (fail) => (this.#fail = fail));
      }
      return worker;
    } catch (error) {
      worker.connection.terminate();
      throw error;
    } finally {
      this.#fail = undefined;
    }
  }

  async #head(name: string, file: MatrixFile): Promise<Calls["addHead"]["arguments"]> {
    return { name, file: await this.#host.source(file, name, () => undefined) };
  }

  /** Runs a task of the model. */
  async #task<T>(signal: AbortSignal | undefined, run: (worker: Worker) => Promise<T>): Promise<T> {
    try {
      return await this.#queue(async () => {
        checkSignal(signal);
        if (this.#disposed) throw new ScDiVaError("disposed", "disposed");
        // A worker that had to be ended is replaced, with the same model on the same device.
        const worker = this.#worker ?? (await this.#start(signal));
        if (this.#disposed) {
          worker.connection.terminate();
          throw new ScDiVaError("disposed", "disposed");
        }
        this.#worker = worker;
        this.#info = worker.info;
        return await run(worker);
      });
    } catch (error) {
      throw this.#disposed ? new ScDiVaError("disposed", "disposed") : asScDiVaError(error, signal);
    }
  }

  /** Asks something of an analysis, which lives in `worker` only. */
  async #ask<Name extends CallName>(
    worker: Worker,
    name: Name,
    question: Calls[Name]["arguments"],
    listening: Listening,
  ): Promise<Calls[Name]["answer"]> {
    const { signal } = listening;
    const answer = this.#queue(async () => {
      checkSignal(signal);
      return await this.#call(worker, name, question, listening, false);
    });
    try {
      return await orAborted(answer, signal);
    } catch (error) {
      throw asScDiVaError(error, signal);
    }
  }

  async #call<Name extends CallName>(
    worker: Worker,
    name: Name,
    values: Calls[Name]["arguments"],
    listening: Listening,
    mayEndWorker = true,
  ): Promise<Calls[Name]["answer"]> {
    if (this.#worker !== worker) {
      const problem = this.#disposed ? "disposed" : "its worker had to be ended, so the analysis is closed; analyse again";
      throw new ScDiVaError("disposed", problem);
    }
    const { signal } = listening;
    if (worker.cancel) Atomics.store(worker.cancel, 0, 0);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const cancel = () => {
      if (worker.cancel) Atomics.store(worker.cancel, 0, 1);
      if (mayEndWorker) timer = setTimeout(() => this.#end("cancelled", "cancelled"), worker.cancel ? PATIENCE_MS : 0);
    };
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    // What the caller's function throws ends the call, once the worker has ended it.
    let thrown: ScDiVaError | undefined;
    const guarded = <Told extends unknown[]>(what: string, tell: ((...told: Told) => void) | undefined) => (...told: Told) => {
      if (thrown) return;
      try {
        tell?.(...told);
      } catch (error) {
        thrown = callersError(what, error);
        cancel();
      }
    };
    const guard = { onStage: guarded("onProgress", listening.onStage), onBatch: guarded("onBatch", listening.onBatch) };
    try {
      const answer = await request(worker.connection, name, values, guard, (fail) => (this.#fail = fail));
      if (thrown) throw thrown;
      return answer;
    } catch (error) {
      if (error instanceof LastError) this.#end(error.code, error.message);
      throw thrown ?? error;
    } finally {
      this.#fail = undefined;
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Rejects the call that waits for the worker. */
  #fail: ((error: ScDiVaError) => void) | undefined;

  #end(code: ErrorCode, message: string): void {
    this.#worker?.connection.terminate();
    this.#worker = undefined;
    this.#fail?.(new ScDiVaError(code, message));
  }
}

/** Fetches or opens the model's files and brings them to a device in a new worker. */
export async function load(host: Host, options: LoadOptions): Promise<[Model, Worker]> {
  checkOptions(options);
  const { model = { name: "models/mini", files: mini }, device = "auto", precision = "auto", onProgress, signal } = options;
  try {
    checkSignal(signal);
    const files = await Promise.all(download(host, model.files, onProgress, signal));
    const wanted: Model = { name: model.name, files, device, precision };
    return [wanted, await start(host, wanted, signal)];
  } catch (error) {
    throw asScDiVaError(error, signal);
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
      try {
        onProgress?.({ receivedBytes: sums[0], totalBytes: known ? sums[1] : undefined });
      } catch (error) {
        throw callersError("onProgress", error);
      }
    };
    return host.source(files[name] as Blob, name, tell, signal);
  });
}

async function start(host: Host, model: Model, signal: AbortSignal | undefined): Promise<Worker> {
  checkSignal(signal);
  const connection = host.connect();
  const cancel = host.sharesMemory() ? new Int32Array(new SharedArrayBuffer(4)) : undefined;
  connection.send({ cancel });
  let abort: (() => void) | undefined;
  try {
    const info = await request(connection, "load", model, {}, (fail) => {
      abort = () => fail(new ScDiVaError("cancelled", "cancelled"));
      signal?.addEventListener("abort", abort, { once: true });
    });
    return { connection, cancel, info, nOpen: 0 };
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
  listening: Listening,
  onStart: (fail: (error: ScDiVaError) => void) => void,
): Promise<Calls[Name]["answer"]> {
  return new Promise((resolve, reject) => {
    onStart(reject);
    connection.onFailure((message) => reject(new LastError("internal", message)));
    connection.onMessage((message: Response) => {
      if ("progress" in message) listening.onStage?.(...message.progress);
      else if ("batch" in message) listening.onBatch?.(message.batch);
      else if ("error" in message) {
        const { code, message: text, nKept, isLast } = message.error;
        reject(isLast ? new LastError(code, text) : new ScDiVaError(code, text, nKept));
      } else resolve(message.answer);
    });
    connection.send({ call, arguments: values });
  });
}

/** Does not wait for what a signal has made pointless. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new ScDiVaError("cancelled", "cancelled"));
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
}

function areFiles(input: MatrixInput): input is MatrixFiles {
  return typeof input === "object" && "files" in input;
}

function areSamples(input: MatrixInput): input is MatrixSamples {
  return typeof input === "object" && "samples" in input;
}

function nameOf(input: MatrixInput, otherwise = "matrix"): string {
  if (typeof input === "string") return input;
  return "name" in input ? String(input.name) : otherwise;
}

/** Whatever its reason is. */
function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new ScDiVaError("cancelled", "cancelled");
}

/** `null` is what a default does not stand for. */
function checkOptions(options: object | null | undefined): void {
  if (typeof options !== "object" || options === null) throw new ScDiVaError("argument", `the options are ${String(options)}; wanted an object`);
}

/** What a function of the caller's threw. */
function callersError(what: string, error: unknown): ScDiVaError {
  const own = new ScDiVaError("argument", `${what} threw: ${error instanceof Error ? error.message : String(error)}`);
  own.cause = error;
  return own;
}

function asScDiVaError(error: unknown, signal?: AbortSignal): ScDiVaError {
  if (error instanceof ScDiVaError) return error;
  if (signal?.aborted || (error instanceof Error && error.name === "AbortError")) return new ScDiVaError("cancelled", "cancelled");
  return new ScDiVaError("internal", error instanceof Error ? error.message : String(error));
}
