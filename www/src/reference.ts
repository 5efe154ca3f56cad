// A file whose cells are labelled teaches the model its types, for this file and those after it.

import type { Inspection, MatrixInput, ScDiVa, TaskOptions } from "scdiva";
import { save } from "./dom";
import { count, percent } from "./format";
import { page } from "./page";

/** What `fitHead` of the package gives. */
interface Fitted {
  name: string;
  labels: string[];
  leftOut?: { label: string }[];
  nCells: number;
  accuracy: number;
  macroF1: number;
  file: Blob;
}

type Learner = ScDiVa & { fitHead(input: MatrixInput, options: TaskOptions & { labelColumn: string; name: string }): Promise<Fitted> };

/** Whether this version of the package learns. */
const learns = (scdiva: ScDiVa): scdiva is Learner => "fitHead" in scdiva;

/** The file of the head that was learned last. */
let learned: Fitted | undefined;

/** The head that was chosen among those learned; `undefined` is the model's own. */
export const chosenHead = (): string | undefined => page.head.value || undefined;

/** Another model knows none of the heads that were learned on the one before. */
export function forgetHeads(): void {
  page.head.replaceChildren(new Option("the model’s own", ""));
  page.headChoice.hidden = true;
  page.referenceSave.hidden = true;
  page.referenceStatus.textContent = "";
}

/** Offers the columns that may hold types. */
export function offerReference({ cellColumns }: Inspection, scdiva: ScDiVa): void {
  const columns = cellColumns.filter(({ kind, nCategories }) => kind === "categories" && (nCategories ?? 0) > 1);
  const likely = columns.find(({ isGrouping }) => isGrouping);
  page.referenceColumn.replaceChildren(...columns.map(({ name, nCategories }) => new Option(`${name} (${count(nCategories ?? 0)})`, name)));
  if (likely) page.referenceColumn.value = likely.name;
  page.reference.hidden = columns.length === 0 || !learns(scdiva);
}

/** Fits a head on the labels of the column that is chosen, and chooses it. */
export async function learn(scdiva: ScDiVa, input: MatrixInput, options: TaskOptions): Promise<void> {
  if (!learns(scdiva)) return;
  const labelColumn = page.referenceColumn.value;
  page.referenceStatus.textContent = "Reading the cells …";
  learned = await scdiva.fitHead(input, {
    ...options,
    labelColumn,
    name: labelColumn,
    onProgress: ({ nDone, nCells }) => (page.referenceStatus.textContent = `${count(nDone)} of ${count(nCells)} cells`),
  });
  const { name, labels, leftOut = [], nCells, accuracy, macroF1 } = learned;
  const few = leftOut.length > 0 ? ` Too few cells to learn from: ${leftOut.map(({ label }) => label).join(", ")}.` : "";
  page.referenceStatus.textContent =
    `Learned ${count(labels.length)} types from ${count(nCells)} cells. Of those held out, ${percent(accuracy)} are called rightly ` +
    `(macro F1 ${macroF1.toFixed(2)}).${few} Annotate this file, or open another: these types are chosen now.`;
  for (const option of [...page.head.options]) if (option.value === name) option.remove();
  page.head.add(new Option(`learned from ${name}`, name, true, true));
  page.headChoice.hidden = false;
  page.referenceSave.hidden = false;
}

page.referenceSave.addEventListener("click", () => learned && save(learned.file, `${learned.name}.safetensors`));
