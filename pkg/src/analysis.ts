// This side of an analysis: data, and questions to the worker that keeps the matrix open.

import { ScDiVaError } from "./error.js";
import type { AnalysisData, Calls, Pieces } from "./protocol.js";
import { type Listening, told } from "./telling.js";
import type { Analysis, SaveOptions } from "./types.js";

type QuestionName = "gene" | "column" | "embedding" | "markers" | "dotPlot" | "csv" | "h5ad" | "close";

interface Asked {
  /** Asks about this analysis. */
  ask<Name extends QuestionName>(
    name: Name,
    question: Omit<Calls[Name]["arguments"], "id">,
    listening?: Listening,
  ): Promise<Calls[Name]["answer"]>;
  /** The file that was annotated, where it is one. */
  original(): Promise<Blob>;
}

const H5AD = { type: "application/x-hdf5" };

export function openAnalysis(name: string, data: AnalysisData, { ask, original }: Asked): Analysis {
  let isClosed = false;
  const nCells = data.cells.length;
  const question: Asked["ask"] = async (name, question, listening) => {
    if (isClosed) throw new ScDiVaError("disposed", "the analysis is closed");
    return await ask(name, question, listening);
  };
  const markers = (groups: Int32Array, nGroups: number, n: number, signal: AbortSignal | undefined) =>
    question("markers", { groups, nGroups, n }, { signal });
  const threshold = ({ minProbability = data.minProbability }: SaveOptions) => ({ minProbability });
  return {
    name,
    ...data,
    gene: (name, signal) => question("gene", { name }, { signal }),
    column: (name) => question("column", { name }),
    embedding: (name) => question("embedding", { name }),
    async markers(cells, n = 25, signal) {
      const groups = new Int32Array(nCells).fill(-1);
      for (const cell of cells) {
        if (cell >= nCells) throw new ScDiVaError("argument", `markers: cell ${cell}, but there are ${nCells}`);
        groups[cell] = 0;
      }
      const [best = []] = await markers(groups, 1, n, signal);
      return best;
    },
    groupMarkers: (groups, nGroups, n = 25, signal) => markers(groups, nGroups, n, signal),
    dotPlot: (genes, groups, nGroups, signal) => question("dotPlot", { genes, groups, nGroups }, { signal }),
    csv: (options = {}) => question("csv", threshold(options)),
    async h5ad(options = {}) {
      const file = await question("h5ad", threshold(options), told(options));
      return joined(file, file.onOriginal ? await original() : new Blob());
    },
    dispose() {
      if (isClosed) return;
      isClosed = true;
      // A worker that is gone has closed everything.
      ask("close", {}).catch(() => undefined);
    },
  };
}

/** One file of the pieces, and of what stands between them in the original: nothing of that is copied. */
function joined({ size, pieces }: Pieces, original: Blob): Blob {
  const parts: Blob[] = [];
  let end = 0;
  for (const { at, blob } of pieces) {
    if (at > end) parts.push(original.slice(end, at));
    parts.push(blob);
    end = at + blob.size;
  }
  if (size > end) parts.push(original.slice(end, size));
  const whole = new Blob(parts, H5AD);
  if (whole.size !== size) throw new ScDiVaError("io", `the file has changed since it was read: ${whole.size} bytes; wanted ${size}`);
  return whole;
}
