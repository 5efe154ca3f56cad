// The map as a picture with its legend. Up to some thousand cells are drawn as such; more become an image inside, so that the file opens.

import { h, s } from "../dom";
import { cells, count } from "../format";
import { css, ramp, type Theme } from "../palette";
import { ranked, type View } from "../view";
import type { Categories, Coloured } from "./colours";
import { clipped, FONT, type Figure, roomFor } from "./panel";
import { fitted, namePlaces, paintCanvas, type Painted, type Placed } from "./plane";

const SIDE = 640;
const N_DRAWN = 20_000;
const N_NAMES = 30;

export function mapFigure(view: View, placed: Placed | undefined, painted: Painted | undefined, of: Coloured | undefined): Figure {
  const legend = Math.max(230, 110 + roomFor(of?.kind === "categories" ? listed(of, view).map((i) => of.names[i] as string) : []));
  const draw = (theme: Theme): SVGSVGElement => {
    const svg = s("svg", { width: SIDE + legend, height: SIDE + 20, viewBox: `0 0 ${SIDE + legend} ${SIDE + 20}`, "font-family": FONT });
    svg.append(s("rect", { width: SIDE + legend, height: SIDE + 20, fill: theme.ground }));
    if (!placed || !painted || !of) return svg;
    svg.append(placed.positions.length / 2 > N_DRAWN ? asImage(placed, painted) : asDots(placed, painted));
    svg.append(...labels(placed, of, view, theme), key(of, view, theme, legend));
    const axes = view.embedding ?? "UMAP";
    svg.append(s("text", { x: 12, y: SIDE + 10, "font-size": 12, fill: theme.quiet }, `${axes}, ${cells(view.study.answers.cells.length)} of ${clipped(view.study.answers.name, 80)}`));
    return svg;
  };
  return { name: `${view.study.stem}.umap`, says: "Map of the cells", draw };
}

function asImage(placed: Placed, painted: Painted): SVGElement {
  const canvas = h("canvas", { width: 3 * SIDE, height: 3 * SIDE });
  paintCanvas(canvas, placed, painted);
  return s("image", { href: canvas.toDataURL("image/png"), width: SIDE, height: SIDE });
}

/** One path a colour: a cell is a line of no length with round ends. */
function asDots(placed: Placed, { colours, order }: Painted): SVGElement {
  const { at, scale } = fitted(placed, SIDE, SIDE, 0.05);
  const words = new Uint32Array(colours.buffer, colours.byteOffset, colours.length / 4);
  const paths = new Map<number, string[]>();
  words.forEach((_, i) => {
    const cell = order ? (order[i] as number) : i;
    const word = words[cell] as number;
    const [x, y] = at(cell);
    if (!Number.isFinite(x) || colours[4 * cell + 3] === 0) return;
    const dots = paths.get(word) ?? [];
    dots.push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`);
    paths.set(word, dots);
  });
  const width = Math.max(1.2, 2 * placed.radius * scale);
  const group = s("g", { "stroke-linecap": "round", "stroke-width": width, fill: "none" });
  for (const [word, dots] of paths) {
    const [r, g, b, a] = new Uint8Array(new Uint32Array([word]).buffer) as unknown as [number, number, number, number];
    group.append(s("path", { d: dots.join(""), stroke: css([r, g, b]), "stroke-opacity": a / 255 }));
  }
  return group;
}

function labels(placed: Placed, of: Coloured, view: View, theme: Theme): SVGElement[] {
  if (of.kind !== "categories") return [];
  const { scale } = fitted(placed, SIDE, SIDE, 0.05);
  const least = of.codes.length / 200;
  return namePlaces(placed, of.codes, of.names.length).flatMap((place, i) => {
    if (!place || i >= of.nNamed || view.hidden.has(i) || (of.counts[i] as number) < least) return [];
    // Whole in the legend.
    const name = clipped(of.names[i] as string, 24);
    const half = 4 * name.length;
    const [x, y] = [Math.min(SIDE - half, Math.max(half, SIDE / 2 + (place[0] - placed.centre[0]) * scale)), SIDE / 2 - (place[1] - placed.centre[1]) * scale - 4];
    const halo = { stroke: theme.ground, "stroke-width": 3.5, "paint-order": "stroke", "stroke-linejoin": "round" };
    return [s("text", { x, y, "font-size": 13, "font-weight": 600, "text-anchor": "middle", fill: theme.text, ...halo }, name)];
  });
}

/** The groups that the legend has room for. */
const listed = (of: Categories, view: View): number[] => shownGroups(of, view).slice(0, N_NAMES);
const shownGroups = (of: Categories, view: View): number[] => ranked(of, of.nNamed).filter((i) => !view.hidden.has(i));

function key(of: Coloured, view: View, theme: Theme, width: number): SVGElement {
  const group = s("g", { transform: `translate(${SIDE + 12} 32)`, "font-size": 12, fill: theme.text });
  group.append(s("text", { "font-weight": 600 }, clipped(of.title)));
  if (of.kind === "numbers") {
    for (let i = 0; i < 60; i++) group.append(s("rect", { x: 3 * i, y: 12, width: 3.2, height: 12, fill: css(ramp(i / 59, theme.dark)) }));
    group.append(s("text", { y: 40, fill: theme.quiet }, of.format(of.range[0])));
    group.append(s("text", { x: 180, y: 40, "text-anchor": "end", fill: theme.quiet }, of.format(of.range[1])));
    return group;
  }
  const order = listed(of, view);
  const nMore = shownGroups(of, view).length - order.length;
  if (nMore > 0) group.append(s("text", { x: 17, y: 22 + 18 * order.length, fill: theme.quiet }, `and ${count(nMore)} more`));
  order.forEach((i, line) => {
    const y = 22 + 18 * line;
    group.append(s("circle", { cx: 5, cy: y - 4, r: 5, fill: of.colours[i] as string }), s("text", { x: 17, y }, clipped(of.names[i] as string)));
    group.append(s("text", { x: width - 24, y, "text-anchor": "end", fill: theme.quiet }, count(of.counts[i] as number)));
  });
  return group;
}
