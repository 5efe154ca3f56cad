// The map of the cells with everything around it: what it is coloured by, its legend, the lasso and what was selected.

import { button, type Child, h, s, select } from "../dom";
import { count, percent } from "../format";
import { onTheme, theme } from "../palette";
import type { Colouring, View } from "../view";
import { type Coloured, coloured, drawingOrder, rgba } from "./colours";
import { genePicker } from "./genes";
import { inside, lasso } from "./lasso";
import { legend } from "./legend";
import type { Camera, CellMap } from "./camera";
import { mapFigure } from "./mapfigure";
import { panel, saveButtons } from "./panel";
import { PixelMap } from "./pixelmap";
import { namePlaces, type Painted, type Placed, placedAt } from "./plane";
import { selectionPanel } from "./selection";

export interface MapPanel {
  element: HTMLElement;
  figure: () => ReturnType<typeof mapFigure>;
  /** Once it is part of the page. */
  start: () => void;
  dispose: () => void;
}

export function mapPanel(view: View): MapPanel {
  const { answers } = view.study;
  const surface = h("div", { className: "map-surface", tabIndex: 0, aria: { role: "application", label: MAP_LABEL } });
  const names = h("div", { className: "map-names", aria: { hidden: "true" } });
  const over = h("div", { className: "map-lasso", hidden: true });
  const tip = h("div", { className: "map-tip", hidden: true });
  const note = h("p", { className: "map-note", role: "status" });
  const stage = h("div", { className: "map-stage" }, surface, names, over, tip, note);
  const side = h("div", { className: "map-side" });

  /** What is always to be said. */
  const standing = answers.umap ? "" : "No map was computed.";
  let map: CellMap | undefined;
  let placed: Placed | undefined;
  let now: Coloured | undefined;
  let painted: Painted | undefined;
  let places: ReturnType<typeof namePlaces> = [];

  /** How often colours and places were asked for: an answer that comes after a later question is not shown. */
  let [nColours, nPlaces] = [0, 0];

  const failed = (error: unknown) => (note.textContent = error instanceof Error ? error.message : String(error));

  /** Draws what is there with the colours of this moment. */
  const repaint = () => {
    if (!now || !placed) return;
    painted = { colours: rgba(now, view, theme().dark), order: painted?.order ?? null };
    map?.paint(painted);
    moveNames();
  };
  const recolour = async () => {
    const mine = ++nColours;
    try {
      note.textContent = view.colouring.by === "gene" ? "Reading the gene …" : standing;
      const of = await coloured(view);
      if (mine !== nColours) return;
      now = of;
      note.textContent = standing;
    } catch (error) {
      if (mine === nColours) failed(error);
      return;
    }
    if (!placed) return;
    painted = { colours: new Uint8Array(), order: drawingOrder(now) };
    places = now.kind === "categories" ? namePlaces(placed, now.codes, now.names.length) : [];
    nameGroups();
    side.replaceChildren(legend(now, view));
    repaint();
  };
  const nameGroups = () => {
    const of = now;
    if (of?.kind !== "categories") return names.replaceChildren();
    // A group of a few cells would put its name on others.
    const least = answers.cells.length / 200;
    names.replaceChildren(
      ...places.flatMap((at, i) => (at && i < of.nNamed && (of.counts[i] as number) >= least ? [h("span", { data: { group: String(i) } }, of.names[i])] : [])),
    );
  };
  const moveNames = () => {
    const project = map?.camera.projection;
    for (const name of names.children as HTMLCollectionOf<HTMLElement>) {
      const group = Number(name.dataset["group"]);
      const at = places[group];
      name.hidden = !at || !project || view.hidden.has(group);
      if (at && project) name.style.transform = `translate(${(at[0] - project.originX) * project.scale}px, ${(project.originY - at[1]) * project.scale}px) translate(-50%, -100%)`;
    }
  };
  const place = async () => {
    const mine = ++nPlaces;
    const positions = view.embedding === null ? answers.umap : await view.study.embedding(view.embedding);
    if (!positions || mine !== nPlaces) return;
    placed = placedAt(positions);
    map?.place(placed);
    await recolour();
  };

  const resized = new ResizeObserver(() => move((camera) => camera.resized()));
  const move = (step: (camera: Camera) => void) => {
    if (!map) return;
    step(map.camera);
    map.moved();
  };

  const picking = button("Select with a lasso", () => setPicking(Boolean(over.hidden)), "small quiet");
  picking.id = "lasso";
  const setPicking = (on: boolean) => {
    over.hidden = !on;
    picking.setAttribute("aria-pressed", String(on));
    picking.textContent = on ? "Draw around cells …" : "Select with a lasso";
  };
  setPicking(false);
  const clear = button("Clear selection", () => choose(null), "small quiet");
  const choose = (cells: Uint32Array | null) => {
    view.selection = cells && cells.length > 0 ? cells : null;
    view.emit("selection");
  };
  lasso(over, (line) => {
    if (!placed || !now || !map) return;
    const { scale, originX, originY } = map.camera.projection;
    const of = now;
    const isShown = (cell: number) => of.kind === "numbers" || !view.hidden.has(of.codes[cell] as number);
    choose(inside(line.map(([x, y]) => [originX + x / scale, originY - y / scale]), placed.positions, isShown));
    setPicking(false);
  });

  const controls = h(
    "div",
    { className: "map-controls" },
    ...colourControls(view),
    h("span", { className: "grow" }),
    picking,
    clear,
    iconButton("+", "Zoom in", () => move((camera) => camera.zoomBy(0.6))),
    iconButton("−", "Zoom out", () => move((camera) => camera.zoomBy(-0.6))),
    iconButton(arrowsApart(), "Show all cells", () => move((camera) => placed && camera.fit(placed))),
  );
  clear.hidden = true;
  view.on("groups", () => view.colouring.by === "label" && void recolour());
  view.on("colouring", () => {
    view.hidden.clear();
    view.highlighted = null;
    void recolour();
  });
  view.on("shown", repaint);
  view.on("layout", () => void place().catch(failed));
  view.on("selection", () => {
    clear.hidden = view.selection === null;
    repaint();
  });
  onTheme(() => surface.isConnected && void recolour());
  surface.addEventListener("keydown", (event) => {
    const step = event.key === "0" ? (camera: Camera) => placed && camera.fit(placed) : KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    move(step);
  });

  const figure = () => mapFigure(view, placed, painted, now);
  const element = panel("map", "Map of the cells", controls, h("div", { className: "map" }, stage, side), selectionPanel(view), lateSaveButtons(view, figure));
  note.textContent = standing;

  return {
    element,
    figure,
    async start() {
      const { PointMap } = await import("./map");
      map = hasGraphicsCard() ? new PointMap(surface, failed) : new PixelMap(surface);
      map.onMove = moveNames;
      map.onHover = (cell, x, y) => hover(tip, view, cell, x, y);
      resized.observe(surface);
      await place().catch(failed);
    },
    dispose() {
      resized.disconnect();
      map?.dispose();
    },
  };
}

const MAP_LABEL = "Map of the cells. Arrow keys move it, plus and minus zoom, 0 shows all. The table below has the same in words.";
const KEYS: Record<string, (camera: Camera) => void> = {
  ArrowLeft: (camera) => camera.pan(-40, 0),
  ArrowRight: (camera) => camera.pan(40, 0),
  ArrowUp: (camera) => camera.pan(0, -40),
  ArrowDown: (camera) => camera.pan(0, 40),
  "+": (camera) => camera.zoomBy(0.5),
  "-": (camera) => camera.zoomBy(-0.5),
};

/** Whether WebGL is here, and is no imitation by the processor. */
function hasGraphicsCard(): boolean {
  const context = document.createElement("canvas").getContext("webgl2");
  if (!context) return false;
  const names = context.getExtension("WEBGL_debug_renderer_info");
  const name = String(context.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER));
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|software|basic render/i.test(name);
}

function hover(tip: HTMLElement, view: View, cell: number, x: number, y: number): void {
  tip.hidden = cell < 0;
  if (cell < 0) return;
  const { cells, probability } = view.study.answers;
  const { codes, names } = view.groups;
  const sure = probability[cell] as number;
  // Of the cell's own label, where it is shown and there is one.
  const tail = view.labelling === "voted" || Number.isNaN(sure) ? "" : ` · ${percent(sure)}`;
  tip.textContent = `${cells[cell]} · ${names[codes[cell] as number]}${tail}`;
  tip.style.transform = `translate(${x + 12}px, ${y + 12}px)`;
}

/** Drawn, since few fonts have it. */
function arrowsApart(): SVGSVGElement {
  const attributes = { viewBox: "0 0 16 16", width: 14, height: 14, fill: "none", stroke: "currentColor", "stroke-width": 1.6, "aria-hidden": "true" };
  return s("svg", attributes, s("path", { d: "M9.5 2.5h4v4M13.5 2.5l-5 5M6.5 13.5h-4v-4M2.5 13.5l5-5" }));
}

function iconButton(sign: Child, label: string, pressed: () => void): HTMLButtonElement {
  const made = button(sign, pressed, "icon quiet");
  made.setAttribute("aria-label", label);
  return made;
}

/** Saved pictures show the map as it is coloured at that moment. */
function lateSaveButtons(view: View, figure: MapPanel["figure"]): HTMLElement {
  const late = { name: `${view.study.stem}.umap`, says: "the map of the cells", draw: (theme: Parameters<ReturnType<MapPanel["figure"]>["draw"]>[0]) => figure().draw(theme) };
  return saveButtons(late);
}

function colourControls(view: View): (Node | false)[] {
  const { inspection } = view.study.answers;
  const columns = inspection.cellColumns.filter(({ kind, name }) => kind !== "unread" && (view.study.isLive || view.study.kept.columns.has(name)));
  const own = inspection.embeddings.filter((name) => view.study.isLive || view.study.kept.embeddings.has(name));
  const setColouring = (colouring: Colouring) => {
    view.colouring = colouring;
    view.emit("colouring");
  };
  const genes = genePicker(view, (name) => {
    if (name !== null) setColouring({ by: "gene", name });
    else if (view.colouring.by === "gene") setColouring({ by: "label" });
  });
  const by = select(
    "Colour by",
    [...PLAIN, ...columns.map(({ name, nCategories }): [string, string] => [`column:${name}`, nCategories === null ? name : `${name} (${count(nCategories)})`])],
    (value) => {
      // What is chosen already is no choice.
      if (value !== "gene") setColouring(value.startsWith("column:") ? { by: "column", name: value.slice(7) } : ({ by: value } as Colouring));
    },
  );
  by.id = "colour-by";
  const layout = select("Map", [["", "UMAP computed here"], ...own.map((name): [string, string] => [name, `${name} of the file`])], (value) => {
    view.embedding = value || null;
    view.emit("layout");
  });
  layout.id = "layout";
  const gene = new Option("", "gene");
  const show = () => {
    const { colouring, embedding } = view;
    const name = "name" in colouring ? colouring.name : "";
    genes.show(colouring.by === "gene" ? name : "");
    gene.text = `gene ${name}`;
    if (colouring.by === "gene") by.prepend(gene);
    else gene.remove();
    by.value = colouring.by === "column" ? `column:${name}` : colouring.by;
    layout.value = embedding ?? "";
  };
  view.on("colouring", show);
  view.on("layout", show);
  show();
  return [
    h("label", {}, "Colour by ", by),
    genes.element,
    own.length > 0 && h("label", {}, "Map ", layout),
  ];
}

const PLAIN: [string, string][] = [
  ["label", "cell type"],
  ["probability", "probability"],
  ["entropy", "entropy"],
  ["cluster", "cluster"],
  ["nGenes", "genes seen"],
  ["total", "sum of values"],
  ["mitochondrial", "mitochondrial share"],
];
