// What calls tell while they run.

import type { AnnotationBatch, Progress, TaskOptions } from "./types.js";

/** What a call tells while it runs, and what ends it. */
export interface Listening {
  signal?: AbortSignal | undefined;
  onStage?: ((stage: string, nDone: number, nCells: number) => void) | undefined;
  onBatch?: ((batch: AnnotationBatch) => void) | undefined;
}

/** Adds speed and time left to what the worker tells; each stage begins anew. */
export function rate(onProgress: (stage: string, progress: Progress) => void): NonNullable<Listening["onStage"]> {
  let running: { stage: string; start: number; first: number } | undefined;
  return (stage, nDone, nCells) => {
    // What an earlier run did is no work of this one.
    if (running?.stage !== stage) running = { stage, start: performance.now(), first: nDone };
    const n = nDone - running.first;
    const cellsPerSecond = n > 0 ? (1000 * n) / Math.max(performance.now() - running.start, 1e-3) : 0;
    const secondsLeft = n > 0 ? (nCells - nDone) / cellsPerSecond : undefined;
    onProgress(stage, { nDone, nCells, cellsPerSecond, secondsLeft });
  };
}

export function told({ signal, onProgress }: Pick<TaskOptions, "onProgress"> & { signal?: AbortSignal | undefined }): Listening {
  return { signal, onStage: onProgress && rate((_, progress) => onProgress(progress)) };
}
