// What each type's cells express: genes found in this file beside genes that are known for the type.

import { button, h, help, s } from "../dom";
import { percent } from "../format";
import { css, ramp, type Theme } from "../palette";
import type { DotPlot, Marker } from "scdiva";
import { ranked, type View } from "../view";
import EXPECTED from "./markers.json";
import { clipped, FONT, type Figure, panel, roomFor, shown } from "./panel";

const N_FOUND = 8;
/** More types than this make an unreadable plot. */
const N_TYPES = 16;

interface Expected {
  name: string;
  genes: string[];
}

const expected = (id: string | undefined): Expected | undefined => (EXPECTED as Record<string, Expected>)[id ?? ""];

export function markersPanel(view: View): HTMLElement {
  const content = h("div", { className: "stack", tabIndex: -1, aria: { live: "polite" } });
  const again = button("Compare with these labels", () => void fill(), "small quiet");
  again.hidden = true;
  let key = "";
  // An answer that comes after a later question is not shown.
  let nAsked = 0;
  const fill = async () => {
    const mine = ++nAsked;
    // Not to the top of the page, with the button that goes.
    if (document.activeElement === again) content.focus({ preventScroll: true });
    again.hidden = true;
    key = keyOf(view);
    content.replaceChildren(h("p", { className: "hint" }, "Reading all genes once, comparing each type with all other cells …"));
    const parts = await build(view, key).catch((error: unknown) => [h("p", { className: "hint" }, error instanceof Error ? error.message : String(error))]);
    if (mine === nAsked) content.replaceChildren(...parts);
  };
  // One pass over the file: not with every step of the slider.
  view.on("groups", () => (again.hidden = keyOf(view) === key));
  queueMicrotask(() => void fill());
  return panel(
    "markers",
    "Genes of each type",
    again,
    content,
    help(
      "What is compared here?",
      "“Found” are genes higher in the cells of a type than in all others of this file, ranked by Welch’s t on log-normalised values; with many cells nearly everything is significant, so look at the sizes. ",
      "“Expected” are a few genes that textbooks name for the type. Where they are missing or elsewhere, doubt the label.",
    ),
  );
}

/** The groups themselves, by a sum of them: another threshold that moves no cell asks for nothing new. */
function keyOf({ labelling, groups }: View): string {
  let sum = 0x811c9dc5;
  for (const code of groups.codes) sum = Math.imul(sum ^ code, 0x01000193);
  return `${labelling} ${sum >>> 0}`;
}

async function build(view: View, key: string): Promise<Node[]> {
  const { groups, study } = view;
  const { labels, ontologyIds } = study.answers;
  const all = ranked(groups, labels.length).filter((code) => code < labels.length);
  if (all.length === 0) return [h("p", { className: "hint" }, "No cell has a label, so there is nothing to compare.")];
  const types = all.slice(0, N_TYPES);
  const place = new Map(types.map((code, i) => [code, i]));
  const codes = groups.codes.map((code) => place.get(code) ?? -1);
  const names = types.map((code) => groups.names[code] as string);
  const found = await study.groupMarkers(key, codes, types.length, N_FOUND);
  const wanted = [...new Set(types.flatMap((code) => expected(ontologyIds[code])?.genes ?? []))];
  const dots = wanted.length > 0 ? await study.dotPlot(key, wanted, codes, types.length) : null;
  const present = new Set(wanted.filter((gene) => !dots?.missing.includes(gene)));
  const rows = types.map((code, i) => row(names[i] as string, groups.colours[code] as string, found[i] ?? [], expected(ontologyIds[code]), present));
  const table = h(
    "table",
    { id: "markers-table" },
    h("thead", {}, h("tr", {}, ...["Cell type", "Found, best first", "Expected"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...rows),
  );
  const parts: Node[] = [h("div", { className: "scroll", tabIndex: 0, aria: { role: "region", label: "Genes found and expected" } }, table)];
  if (all.length > N_TYPES) parts.push(h("p", { className: "hint" }, `The ${N_TYPES} types with most cells, and ${all.length - N_TYPES} more that are not shown.`));
  if (dots && present.size > 0) parts.push(shown(dotFigure(view, wanted, names, dots)));
  return parts;
}

function row(name: string, colour: string, found: Marker[], known: Expected | undefined, present: Set<string>): HTMLElement {
  const isKnown = new Set(known?.genes);
  const chips = found.map(({ gene, log2FoldChange, shareInside, shareOutside }) => {
    const title = `log2 fold change ${log2FoldChange.toFixed(1)}; seen in ${percent(shareInside)} of these cells, ${percent(shareOutside)} of the others`;
    return h("span", { className: isKnown.has(gene) ? "gene-chip known" : "gene-chip", title }, gene);
  });
  const best = new Set(found.map(({ gene }) => gene));
  const genes = (known?.genes ?? []).map((gene) =>
    h("span", { className: best.has(gene) ? "gene-chip known" : present.has(gene) ? "gene-chip" : "gene-chip absent", title: present.has(gene) ? "" : "not in this file" }, gene),
  );
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("span", { className: "swatch", colour }), name),
    h("td", { className: "chips" }, ...chips),
    h("td", { className: "chips" }, ...(genes.length > 0 ? genes : ["–"])),
  );
}

const CELL = 24;
const TOP = 78;

/** Size says in how many cells a gene is seen, colour how much, each gene by its own greatest. */
function dotFigure(view: View, genes: string[], types: string[], { mean, share, missing }: DotPlot): Figure {
  const shownGenes = genes.filter((gene) => !missing.includes(gene));
  const left = Math.max(120, 24 + roomFor(types));
  // As wide as its key, at least.
  const [width, height] = [Math.max(left + 450, left + CELL * shownGenes.length + 24), TOP + CELL * types.length + 58];
  const draw = (theme: Theme) => {
    const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT, "font-size": 12, fill: theme.text });
    svg.append(s("rect", { width, height, fill: theme.ground }));
    types.forEach((type, i) => {
      const y = TOP + CELL * (i + 0.5);
      svg.append(s("line", { x1: left, x2: width - 20, y1: y, y2: y, stroke: theme.line }), s("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, clipped(type)));
    });
    shownGenes.forEach((gene, j) => {
      const x = left + CELL * (j + 0.5);
      svg.append(s("text", { transform: `translate(${x + 4} ${TOP - 8}) rotate(-60)` }, gene));
      const at = (i: number) => genes.indexOf(gene) * types.length + i;
      const most = Math.max(1e-6, ...types.map((_, i) => mean[at(i)] || 0));
      types.forEach((type, i) => {
        const [size, level] = [share[at(i)] || 0, mean[at(i)] || 0];
        if (size < 0.005) return;
        const dot = s("circle", { cx: x, cy: TOP + CELL * (i + 0.5), r: Math.max(1.2, 10 * Math.sqrt(size)), fill: css(ramp(level / most, theme.dark)) });
        dot.append(s("title", {}, `${gene} in ${type}: seen in ${percent(size)}, mean ${level.toFixed(2)}`));
        svg.append(dot);
      });
    });
    svg.append(dotKey(theme, left, height - 26));
    return svg;
  };
  return { name: `${view.study.stem}.markers`, says: "Dot plot: expected genes in each cell type", draw };
}

function dotKey(theme: Theme, x: number, y: number): SVGElement {
  const group = s("g", { transform: `translate(${x} ${y})`, fill: theme.quiet });
  [0.1, 0.5, 1].forEach((size, i) => {
    group.append(s("circle", { cx: 12 + 62 * i, cy: 0, r: 10 * Math.sqrt(size), fill: theme.quiet }), s("text", { x: 26 + 62 * i, y: 4 }, percent(size)));
  });
  for (let i = 0; i < 30; i++) group.append(s("rect", { x: 206 + 2 * i, y: -5, width: 2.2, height: 10, fill: css(ramp(i / 29, theme.dark)) }));
  group.append(s("text", { x: 272, y: 4 }, "mean, of the gene’s greatest"));
  return group;
}
