// From "coloured by" to a colour for every cell, and what the legend says of it.

import { percent } from "../format";
import { categorical, NONE, ramp, rgb } from "../palette";
import type { Study } from "../study";
import { type Colouring, countsOf, type Groups, type View } from "../view";

export interface Categories extends Groups {
  kind: "categories";
  title: string;
  /** Groups from here on are those without a label. */
  nNamed: number;
}

export interface Numbers {
  kind: "numbers";
  title: string;
  values: Float32Array;
  /** What the two ends of the ramp mean; values outside are drawn as the end. */
  range: [low: number, high: number];
  /** Whether there are values outside. */
  isClipped: boolean;
  format: (value: number) => string;
}

export type Coloured = Categories | Numbers;

const short = (value: number): string => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(2));

export async function coloured(view: View, { by, ...rest }: Colouring = view.colouring): Promise<Coloured> {
  const { study } = view;
  const { answers } = study;
  const name = "name" in rest ? rest.name : "";
  switch (by) {
    case "label":
      return { kind: "categories", title: "Cell type", ...view.groups, nNamed: answers.labels.length };
    case "cluster":
      return clusters(study);
    case "probability":
      return { kind: "numbers", title: "Probability of the label", values: answers.probability, range: [0, 1], isClipped: false, format: percent };
    case "entropy":
      return numbers("Entropy of the answer (nats)", answers.entropy);
    case "nGenes":
      return numbers("Genes seen", Float32Array.from(answers.qc.nGenes));
    case "total":
      return numbers("Sum of values", answers.qc.total);
    case "mitochondrial":
      return { ...numbers("Mitochondrial share", answers.qc.mitochondrial), format: percent };
    case "gene":
      return numbers(`${name}, log-normalised`, await study.gene(name));
    case "column": {
      const column = await study.column(name);
      return column.kind === "numbers" ? numbers(name, column.values) : fromColumn(name, column.codes, column.categories);
    }
  }
}

function clusters({ answers: { cluster, clusterNames, label } }: Study): Categories {
  return fromColumn("Cluster", cluster ?? new Int32Array(label.length).fill(-1), clusterNames);
}

function fromColumn(title: string, given: Int32Array, categories: string[]): Categories {
  const n = categories.length;
  const codes = given.map((code) => (code < 0 ? n : code));
  const names = [...categories, "no value"];
  const colours = names.map((_, i) => (i < n ? categorical(i) : NONE));
  return { kind: "categories", title, codes, names, colours, counts: countsOf(codes, n + 1), nNamed: n };
}

/** The ends are the 1st and 99th percentile: a single cell far out must not take the colours of all others. */
function numbers(title: string, values: Float32Array): Numbers {
  const finite = values.filter(Number.isFinite).sort();
  const at = (share: number) => finite[Math.floor(share * (finite.length - 1))] ?? 0;
  const low = Math.min(at(0.01), Math.max(0, at(0)));
  // Of a gene that few cells have, the 99th percentile may be nothing.
  const high = [at(0.99), at(1), low + 1].find((end) => end > low) as number;
  return { kind: "numbers", title, values, range: [low, high], isClipped: at(0) < low || at(1) > high, format: short };
}

const FAINT = 26;
const FULL = 235;

/** RGBA of every cell: hidden groups are not drawn; what is not highlighted or selected is faint. */
export function rgba(of: Coloured, view: View, dark: boolean): Uint8Array {
  const n = view.study.answers.cells.length;
  const colours = new Uint8Array(4 * n);
  const table = of.kind === "categories" ? of.colours.map(rgb) : Array.from({ length: 256 }, (_, i) => ramp(i / 255, dark));
  const none = rgb(NONE);
  const chosen = view.selection && new Uint8Array(n);
  for (const cell of view.selection ?? []) (chosen as Uint8Array)[cell] = 1;
  for (let cell = 0; cell < n; cell++) {
    let [colour, alpha] = [none, FULL];
    if (of.kind === "categories") {
      const code = of.codes[cell] as number;
      colour = table[code] ?? none;
      if (view.hidden.has(code)) alpha = 0;
      else if (view.highlighted !== null && view.highlighted !== code) alpha = FAINT;
      else if (code >= of.nNamed) alpha = 110;
    } else {
      const level = levelOf(of, cell);
      if (level >= 0) colour = table[level] ?? none;
      else alpha = 80;
    }
    if (chosen && !chosen[cell]) alpha = Math.min(alpha, FAINT);
    colours.set(colour, 4 * cell);
    colours[4 * cell + 3] = alpha;
  }
  return colours;
}

/** 0 to 255; −1 where there is no value. */
function levelOf({ values, range: [low, high] }: Numbers, cell: number): number {
  const value = values[cell] as number;
  return Number.isFinite(value) ? Math.round((255 * Math.min(high, Math.max(low, value)) - 255 * low) / (high - low)) : -1;
}

/** In which order cells are drawn: high values last, so that they are seen; labels as the file has them. `null` is the file's order. */
export function drawingOrder(of: Coloured): Uint32Array | null {
  if (of.kind === "categories") return null;
  const n = of.values.length;
  const levels = Int16Array.from({ length: n }, (_, cell) => levelOf(of, cell) + 1);
  const starts = new Uint32Array(258);
  for (const level of levels) (starts[level + 1] as number)++;
  for (let i = 1; i < starts.length; i++) (starts[i] as number) += starts[i - 1] as number;
  const order = new Uint32Array(n);
  levels.forEach((level, cell) => (order[(starts[level] as number)++] = cell));
  return order;
}
