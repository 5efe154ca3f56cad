// The cell types, as tables.

import type { Annotation } from "scdiva";
import { count, percent, probability } from "./format";
import { page } from "./page";

const N_FIRST_CELLS = 10;
let saved: string | undefined;

export function showResults(annotation: Annotation, fileName: string): void {
  body(page.types).replaceChildren(...typeRows(annotation));
  body(page.cells).replaceChildren(...cellRows(annotation));
  if (saved) URL.revokeObjectURL(saved);
  saved = URL.createObjectURL(annotation.csv);
  page.save.href = saved;
  page.save.download = `${fileName.replace(/(\.(h5ad|h5|loom|mtx|zarr|zip|csv|tsv|txt|gz))+$/i, "")}.scdiva.csv`;
  page.results.hidden = false;
}

interface Type {
  label: number;
  nCells: number;
  probabilitySum: number;
}

/** One row a type, the largest first; cells without a label last. */
function typeRows({ label, probability: probabilities, labels, ontologyIds, cells }: Annotation): HTMLElement[] {
  const types = new Map<number, Type>();
  label.forEach((of, cell) => {
    const type = types.get(of) ?? { label: of, nCells: 0, probabilitySum: 0 };
    type.nCells += 1;
    type.probabilitySum += probabilities[cell] ?? Number.NaN;
    types.set(of, type);
  });
  const rank = (type: Type) => (type.label < 0 ? Number.POSITIVE_INFINITY : -type.nCells);
  return [...types.values()]
    .sort((a, b) => rank(a) - rank(b))
    .map((type) => {
      const name = element("th", labels[type.label] ?? "no known gene");
      name.scope = "row";
      const id = ontologyIds[type.label];
      if (id) name.append(ontologyLink(id));
      return row(
        name,
        number(count(type.nCells)),
        share(type.nCells / cells.length),
        number(probability(type.probabilitySum / type.nCells)),
      );
    });
}

function cellRows(annotation: Annotation): HTMLElement[] {
  const { cells, labels, label, secondLabel, secondProbability } = annotation;
  return cells.slice(0, N_FIRST_CELLS).map((cell, i) => {
    const name = element("th", cell);
    name.scope = "row";
    return row(
      name,
      element("td", labels[label[i] ?? -1] ?? "no known gene"),
      number(probability(annotation.probability[i] ?? Number.NaN)),
      element("td", labels[secondLabel[i] ?? -1] ?? "–"),
      number(probability(secondProbability[i] ?? Number.NaN)),
    );
  });
}

function ontologyLink(id: string): HTMLElement {
  const link = element("a", id);
  link.className = "id";
  link.href = `https://www.ebi.ac.uk/ols4/ontologies/cl/classes?obo_id=${encodeURIComponent(id)}`;
  link.rel = "noreferrer";
  link.target = "_blank";
  return link;
}

function share(value: number): HTMLElement {
  const meter = element("meter", "");
  meter.value = value;
  meter.setAttribute("aria-hidden", "true");
  const cell = document.createElement("td");
  const inside = element("div", "");
  inside.className = "share";
  inside.append(meter, element("span", percent(value)));
  cell.append(inside);
  return cell;
}

function number(text: string): HTMLElement {
  const cell = element("td", text);
  cell.className = "number";
  return cell;
}

function row(...cells: HTMLElement[]): HTMLElement {
  const line = document.createElement("tr");
  line.append(...cells);
  return line;
}

function element<Name extends keyof HTMLElementTagNameMap>(name: Name, text: string): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function body(table: HTMLTableElement): HTMLTableSectionElement {
  return table.tBodies[0] ?? table.createTBody();
}
