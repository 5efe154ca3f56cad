// How long a run will take, measured on the first cells of the file itself, and how much memory, reckoned.

import { type AnnotateOptions, type Inspection, type MatrixInput, type Progress, type ScDiVa, ScDiVaError } from "scdiva";
import { duration, size } from "./format";

/** A trial goes on until so much time has passed after its first cells, or this much in all. */
const LONG_ENOUGH_MS = 700;
const TOO_LONG_MS = 8000;
/** Neighbours, clusters and map, by the measure of a processor: per cell, and they grow a little faster than cells do. */
const AFTER_SECONDS_PER_CELL = 6e-4;

/** Cells that are answered first, to tell their tissue. */
const PROBED_CELLS = 512;

/** Who waits longer may want to know of a graphics card. */
const LONG_SECONDS = 120;

/** Annotates the first cells, and gives cells per second; `undefined` where that cannot be told. The signal ends it early. */
export async function trySpeed(scdiva: ScDiVa, input: MatrixInput, options: AnnotateOptions, signal: AbortSignal): Promise<number | undefined> {
  // Without shared memory a run can only be ended with its worker, and the model would have to be brought again.
  if (!crossOriginIsolated) return undefined;
  const trial = new AbortController();
  const stop = () => trial.abort();
  signal.addEventListener("abort", stop, { once: true });
  const timer = setTimeout(stop, TOO_LONG_MS);
  let first: number | undefined;
  let latest: Progress | undefined;
  const onProgress = (progress: Progress) => {
    if (progress.nDone === 0) return;
    latest = progress;
    first ??= performance.now();
    if (performance.now() - first > LONG_ENOUGH_MS) stop();
  };
  try {
    // Without the probe for the tissue, which is time that no cell of the run is answered in.
    await scdiva.annotate(input, { ...options, tissue: "any", onProgress, signal: trial.signal });
  } catch (error) {
    if (!(error instanceof ScDiVaError && error.code === "cancelled")) throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
  return latest?.cellsPerSecond;
}

/** Said in words beside the button. */
export function estimateText({ nCells }: Inspection, info: ScDiVa["info"], cellsPerSecond: number | undefined): string {
  const memory = `about ${size(Number(memoryBytes(nCells, info).toPrecision(2)))} of memory`;
  if (cellsPerSecond === undefined) return `Needs ${memory}. How long it takes is said once the first cells are done.`;
  const seconds = (nCells + Math.min(nCells, PROBED_CELLS)) / cellsPerSecond + nCells * AFTER_SECONDS_PER_CELL * Math.log2(2 + nCells / 1000);
  const faster = info.device.kind === "cpu" && seconds > LONG_SECONDS ? " “On the processor”, above, says what would make it faster." : "";
  return `Takes about ${duration(rounded(seconds))} here and ${memory}.${faster}`;
}

/** Weights twice while they are brought over, embeddings, neighbours with their distances, the answers, and what the program itself needs. */
function memoryBytes(nCells: number, { model }: ScDiVa["info"]): number {
  const width = Number(model.config["hiddenSize"] ?? 512);
  return 120e6 + 8 * model.nParameters + nCells * (8 * width + 15 * 16 + 100);
}

/** To a figure that does not pretend to be exact. */
function rounded(seconds: number): number {
  const step = seconds < 20 ? 1 : seconds < 120 ? 10 : 60;
  return Math.max(1, Math.round(seconds / step) * step);
}
