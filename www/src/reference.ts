// A file whose cells are labelled teaches the model its types, for this file and those after it.

import type { FitHeadOptions, FittedHead, Inspection, MatrixInput, ScDiVa } from "scdiva";
import { h, save } from "./dom";
import { count, percent, threshold } from "./format";
import { keepHead } from "./heads";
import { page } from "./page";
import type { RunProgress } from "./progress";

/** The head that was learned last. */
let learned: FittedHead | undefined;

/** Offers the columns that may hold types. */
export function offerReference({ cellColumns, problem }: Inspection): void {
  const columns = cellColumns.filter(({ kind, nCategories }) => kind === "categories" && (nCategories ?? 0) > 1);
  const likely = columns.find(({ isGrouping }) => isGrouping);
  page.referenceColumn.replaceChildren(...columns.map(({ name, nCategories }) => new Option(`${name} (${count(nCategories ?? 0)})`, name)));
  if (likely) page.referenceColumn.value = likely.name;
  page.reference.hidden = columns.length === 0 || problem !== null;
}

/** Fits a head on the labels of the column that is chosen, and chooses it. */
export async function learn(scdiva: ScDiVa, input: MatrixInput, options: Omit<FitHeadOptions, "labelColumn" | "name">, progress: RunProgress): Promise<void> {
  const labelColumn = page.referenceColumn.value;
  // A head of the model keeps its name.
  const name = scdiva.info.model.heads.includes(labelColumn) ? `${labelColumn} learned` : labelColumn;
  page.referenceStatus.textContent = "";
  page.referenceReport.hidden = true;
  const onProgress: FitHeadOptions["onProgress"] = (step) => {
    if (options.signal?.aborted) return;
    if (step.nDone < step.nCells) progress.show({ stage: "annotate", ...step });
    else progress.fitting();
  };
  learned = await scdiva.fitHead(input, { ...options, labelColumn, name, onProgress });
  keepHead(name, learned.file, scdiva);
  page.referenceStatus.textContent =
    `Learned ${count(learned.labels.length)} types from ${count(learned.nCells)} cells. Of ${count(learned.nHeldOut)} held out, ${percent(learned.accuracy)} ` +
    "are called rightly (they also ended the fit: a little too good). Annotate this file, or open another: these types are chosen now.";
  page.referenceReport.replaceChildren(...report(learned));
  page.referenceReport.hidden = page.referenceSave.hidden = false;
}

/** Of another matrix, what was said of this one is not true. The head stays, and can be saved. */
export function leaveReference(): void {
  page.referenceReport.hidden = true;
  page.referenceStatus.textContent = "";
}

/** Another model has none of what was learned. */
export function forgetLearned(): void {
  learned = undefined;
  page.referenceSave.hidden = true;
  leaveReference();
}

page.referenceSave.addEventListener("click", () => learned && save(learned.file, `${learned.name}.safetensors`));

function report(head: FittedHead): HTMLElement[] {
  const facts: [string, string][] = [
    ["Cells used", `${count(head.nCells)}, of these ${count(head.nHeldOut)} held out`],
    ["Called rightly", percent(head.accuracy)],
    ["Macro F1", head.macroF1.toFixed(3)],
    ["Calibration error", head.calibrationError.toFixed(3)],
    ["Threshold", threshold(head.minProbability)],
  ];
  if (head.nUnlabelled > 0) facts.push(["Without a label", `${count(head.nUnlabelled)} cells, not used`]);
  if (head.nUnknown > 0) facts.push(["Without a known gene", `${count(head.nUnknown)} cells, not used`]);
  const column = (text: string) => h("th", { scope: "col", className: text === "Type" ? "" : "number" }, text);
  const row = (label: string, nCells: number, used: string) =>
    h("tr", {}, h("th", { scope: "row" }, label), h("td", { className: "number" }, count(nCells)), h("td", { className: "number" }, used));
  return [
    h("dl", { className: "facts" }, ...facts.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)))),
    h(
      "div",
      { className: "scroll", tabIndex: 0, aria: { role: "region", label: "Types learned" } },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...["Type", "Cells", "Used"].map(column))),
        h(
          "tbody",
          {},
          ...head.types.map(({ label, nCells, nUsed }) => row(label, nCells, count(nUsed))),
          ...head.leftOut.map(({ label, nCells }) => row(label, nCells, "too few")),
        ),
      ),
    ),
    h(
      "p",
      { className: "hint" },
      "The scores are of cells that the head was not fitted on, of this same file: cells of another study are harder. Macro F1 is the mean over types; " +
        "the calibration error says how far probabilities are from shares called rightly; at most 5 % of the held-out cells are below the threshold.",
    ),
  ];
}
