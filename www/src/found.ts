// What was found in a matrix, in sentences, and what can be chosen instead.

import type { AnalyseOptions, Inspection, NameList, Species } from "scdiva";
import { h } from "./dom";
import { cells, count, percent } from "./format";
import { chooseTissue } from "./heads";
import { page } from "./page";

/** What a visitor says instead of what was found. */
export type Choices = Pick<AnalyseOptions, "layer" | "geneColumn" | "species" | "minCounts" | "tissue"> & { groups?: string | undefined };

/** A number is typed digit by digit, and stepped through. */
const PAUSE_MS = 700;
/** More columns of the cells than this are not named. */
const N_COLUMNS = 8;

export function showFound(found: Inspection, choices: Choices): void {
  page.report.replaceChildren(...lines(found).map((line) => h("li", {}, line)));
  const { matrices, matrix, geneColumns, recognition, droplets, cellColumns } = found;
  page.foundSummary.textContent = summary(found);
  page.layer.replaceChildren(...matrices.map((name) => new Option(name, name, false, name === matrix)));
  page.layerChoice.hidden = matrices.length < 2;
  const named = geneColumns.map(({ name, kind }) => new Option(`${name} (${NAMES[kind]})`, name));
  page.geneColumn.replaceChildren(new Option("all columns", ""), ...named);
  page.geneColumn.value = choices.geneColumn ?? "";
  page.geneColumnChoice.hidden = geneColumns.length < 2;
  page.species.replaceChildren(
    new Option(`as recognised: ${recognition.species ?? "not told by the names"}`, ""),
    new Option("human", "human"),
    new Option("mouse", "mouse"),
  );
  page.species.value = choices.species ?? "";
  page.minCounts.value = String(choices.minCounts ?? droplets?.minCounts ?? "");
  page.minCountsChoice.hidden = !droplets && choices.minCounts === undefined;
  chooseTissue(choices.tissue ?? "");
  const groupings = cellColumns.filter(({ kind, nCategories }) => kind === "categories" && (nCategories ?? 0) > 1);
  page.groups.replaceChildren(new Option("clusters computed here", ""), ...groupings.map(({ name }) => new Option(`column ${name}`, name)));
  page.groups.value = choices.groups ?? "";
  page.groupsChoice.hidden = groupings.length === 0;
  page.found.hidden = false;
}

const NAMES: Record<Inspection["geneColumns"][number]["kind"], string> = { ensembl: "Ensembl ids", symbol: "symbols", mixed: "names of several kinds" };

/** Whose genes the share of those that were found is one of: those of whom there are fewer. */
export const sharedOf = ({ nGenes, nVocabulary }: { nGenes: number; nVocabulary: number }): "its" | "the model’s" => (nGenes < nVocabulary ? "its" : "the model’s");

/** The one sentence that most people need. */
function summary({ nCells, nGenes, genes, values, droplets }: Inspection): string {
  const size = `${cells(nCells)} × ${count(nGenes)} genes`;
  const parts = [size, values && VALUES[values.kind], genes && `${genes.species}, ${percent(genes.share)} of ${sharedOf(genes)} genes ${sharedOf(genes) === "its" ? "known to the model" : "found"}`];
  if (droplets) parts.push(`${count(droplets.nDropped)} empty droplets left out`);
  return parts.filter(Boolean).join(" · ");
}

const VALUES: Record<NonNullable<Inspection["values"]>["kind"], string> = {
  counts: "raw counts",
  "estimated-counts": "estimated counts",
  "log-counts": "log counts",
  normalised: "normalised values",
  "log-normalised": "log-normalised values",
};

/** What was typed a moment ago. */
let typed: Choices = {};
let timer: ReturnType<typeof setTimeout> | undefined;

/** What was typed and not told yet; it will not be told again. */
export function takeTyped(): Choices {
  clearTimeout(timer);
  const taken = typed;
  typed = {};
  return taken;
}

/** Calls `changed` with each choice that is made. */
export function onChoice(changed: (change: Choices) => void): void {
  const made = (change: Choices) => changed({ ...takeTyped(), ...change });
  page.layer.addEventListener("change", () => made({ layer: page.layer.value }));
  page.geneColumn.addEventListener("change", () => made({ geneColumn: page.geneColumn.value || undefined }));
  page.species.addEventListener("change", () => made({ species: (page.species.value || undefined) as Species }));
  page.tissue.addEventListener("change", () => made({ tissue: page.tissue.value || undefined }));
  page.groups.addEventListener("change", () => made({ groups: page.groups.value || undefined }));
  page.minCounts.addEventListener("change", () => {
    takeTyped();
    if (!page.minCounts.reportValidity()) return;
    const { value, valueAsNumber } = page.minCounts;
    typed = { minCounts: value === "" ? undefined : valueAsNumber };
    timer = setTimeout(() => made({}), PAUSE_MS);
  });
}

function lines({ file, format, nCells, nGenes, matrix, notes, droplets, genes, values, cellColumns, embeddings }: Inspection): string[] {
  const lines = [`${file}: ${cells(nCells)} × ${count(nGenes)} genes, ${format}, read from ${matrix}`, ...notes];
  if (droplets) lines.push(`${count(droplets.nDropped)} of ${count(droplets.nBarcodes)} barcodes, those with fewer than ${count(droplets.minCounts)} counts, were left out`);
  if (genes) {
    const { species } = genes.recognition;
    if (genes.species === "mouse") lines.push("Mouse mapped to human: genes were taken for their one-to-one human orthologs");
    if (species?.includes(" and ")) lines.push(`Genes of ${species}: only those of human are used, and the cells of another species get labels that mean nothing`);
    const columns = genes.columns.map((column) => `“${column.name}”`).join(", ");
    const of = sharedOf(genes) === "its" ? "the file’s" : "the model’s";
    lines.push(`${count(genes.nMatched)} of the model’s ${count(genes.nVocabulary)} genes found by ${columns} (${percent(genes.share)} of ${of})`);
    const say = ({ n, first }: NameList, what: string) => {
      if (n > 0) lines.push(`${count(n)} ${what}: ${first.join(", ")}${n > first.length ? ", …" : ""}`);
    };
    say(genes.byAlias, "of these by a previous symbol or an alias");
    say(genes.bySpelling, "of these in another spelling");
    say(genes.bySuffix, "of these by the name before a number that was added to make it unique");
    say(genes.merged, "added to another, being the same gene again");
    say(genes.ambiguous, "left out, since the name means two genes");
    say(genes.dates, "left out as dates, which a spreadsheet makes of genes such as SEPT2");
    say(genes.otherGenome, "left out, being of another genome");
  }
  if (values) {
    lines.push(`Values: ${values.text}`);
    if (values.nEmptyCells > 0) lines.push(`${count(values.nEmptyCells)} of the ${count(values.nSampledCells)} cells that were looked at have no counts`);
  }
  const columns = cellColumns.map(({ name, nCategories }) => (nCategories === null ? name : `${name} (${count(nCategories)} values)`));
  const more = columns.length > N_COLUMNS ? ` and ${count(columns.length - N_COLUMNS)} more` : "";
  const parts = [columns.slice(0, N_COLUMNS).join(", ") + more, embeddings.length > 0 ? `the embeddings ${embeddings.join(", ")}` : ""];
  const said = parts.filter(Boolean).join("; ");
  if (said) lines.push(`Of its cells the file also says: ${said}`);
  return lines;
}
