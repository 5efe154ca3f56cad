// Which types make up each sample, or each value of any other column of the file.

import { h, s, select } from "../dom";
import { cells, count, percent } from "../format";
import type { Theme } from "../palette";
import { ranked, type View } from "../view";
import { clipped, FONT, type Figure, panel, roomFor, shown } from "./panel";

/** Of more values than this only the largest have a bar. */
const N_BARS = 40;
const LIKELY = /sample|donor|batch|patient|orig\.?ident|library|condition|individual/i;

export function compositionPanel(view: View): HTMLElement | false {
  const { cellColumns } = view.study.answers.inspection;
  const usable = cellColumns.filter(
    ({ kind, nCategories, name }) => kind === "categories" && (nCategories ?? 0) <= 400 && (view.study.isLive || view.study.kept.columns.has(name)),
  );
  if (usable.length === 0) return false;
  let column = (usable.find(({ name, nCategories }) => LIKELY.test(name) && nCategories !== 1) ?? usable.find(({ nCategories }) => nCategories !== 1) ?? usable[0])?.name as string;
  const content = h("div", { className: "stack" });
  // An answer that comes after a later question is not shown.
  let nAsked = 0;
  const fill = async () => {
    const mine = ++nAsked;
    const part = await barsFigure(view, column).then(shown, (error: unknown) => h("p", { className: "hint" }, error instanceof Error ? error.message : String(error)));
    if (mine === nAsked) content.replaceChildren(part);
  };
  const by = select("Composition by", usable.map(({ name, nCategories }): [string, string] => [name, `${name} (${count(nCategories ?? 0)})`]), (value) => {
    column = value;
    void fill();
  });
  by.id = "composition-by";
  by.value = column;
  view.on("groups", () => void fill());
  queueMicrotask(() => void fill());
  return panel("composition", "Composition", h("div", { className: "controls" }, h("label", {}, "By ", by)), content);
}

const [WIDTH, BAR] = [520, 22];

async function barsFigure(view: View, name: string): Promise<Figure> {
  const column = await view.study.column(name);
  if (column.kind !== "categories") throw new Error(`${name}: holds numbers`);
  const { groups, study } = view;
  const n = groups.names.length;
  const counts = new Uint32Array(n * column.categories.length);
  column.codes.forEach((value, cell) => {
    if (value >= 0) (counts[value * n + (groups.codes[cell] as number)] as number)++;
  });
  const totals = column.categories.map((_, i) => counts.subarray(i * n, (i + 1) * n).reduce((a, b) => a + b, 0));
  const all = [...totals.keys()].filter((i) => totals[i]);
  const nMore = Math.max(0, all.length - N_BARS);
  // As many as there is room for stand as the file has them.
  const bars = nMore === 0 ? all : all.sort((a, b) => (totals[b] as number) - (totals[a] as number)).slice(0, N_BARS);
  const types = ranked(groups, study.answers.labels.length);
  const left = 24 + roomFor(bars.map((i) => column.categories[i] as string));
  const keyWidth = 35 + roomFor(types.map((type) => groups.names[type] as string));
  const keyColumns = Math.max(1, Math.floor((WIDTH + 60) / keyWidth));
  const keyTop = 8 + BAR * (bars.length + Math.sign(nMore)) + 24;
  const [width, height] = [left + WIDTH + 70, keyTop + 4 + 20 * Math.ceil(types.length / keyColumns)];
  const draw = (theme: Theme) => {
    const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT, "font-size": 12, fill: theme.text });
    svg.append(s("rect", { width, height, fill: theme.ground }));
    bars.forEach((value, line) => {
      const y = 8 + BAR * line;
      const category = column.categories[value] as string;
      svg.append(s("text", { x: left - 10, y: y + 13, "text-anchor": "end" }, clipped(category)));
      let x = left;
      for (const type of types) {
        const share = (counts[value * n + type] as number) / (totals[value] as number);
        if (share === 0) continue;
        const piece = s("rect", { x, y, width: share * WIDTH, height: BAR - 5, fill: groups.colours[type] as string });
        piece.append(s("title", {}, `${category}: ${groups.names[type]} ${percent(share)}`));
        svg.append(piece);
        x += share * WIDTH;
      }
      svg.append(s("text", { x: left + WIDTH + 8, y: y + 13, fill: theme.quiet }, count(totals[value] as number)));
    });
    if (nMore > 0) {
      const more = bars.reduce((sum, value) => sum - (totals[value] as number), totals.reduce((a, b) => a + b, 0));
      svg.append(s("text", { x: left, y: 8 + BAR * bars.length + 13, fill: theme.quiet }, `and ${count(nMore)} more, smaller, of ${cells(more)} together`));
    }
    types.forEach((type, i) => {
      const [x, y] = [left + (i % keyColumns) * keyWidth, keyTop + 20 * Math.floor(i / keyColumns)];
      svg.append(s("rect", { x, y: y - 9, width: 10, height: 10, rx: 2, fill: groups.colours[type] as string }), s("text", { x: x + 15, y }, clipped(groups.names[type] as string)));
    });
    return svg;
  };
  return { name: `${study.stem}.composition`, says: `Share of each cell type by ${name}${nMore > 0 ? `: the ${N_BARS} largest of ${all.length}` : ""}`, draw };
}
