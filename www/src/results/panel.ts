// A part of the results with its title, and a figure with its ways to be saved.

import { button, type Child, h, save } from "../dom";
import { onThemeAlways, PAPER, type Theme, theme } from "../palette";

export function panel(id: string, title: string, ...children: Child[]): HTMLElement {
  return h("section", { id, className: "panel", aria: { labelledby: `${id}-title` } }, h("h3", { id: `${id}-title` }, title), ...children);
}

/** A picture that can be drawn on the page's ground or on paper. */
export interface Figure {
  /** Of the file it is saved as. */
  name: string;
  /** What it shows, for people who do not see it. */
  says: string;
  draw: (theme: Theme) => SVGSVGElement;
}

/** How each figure on the page is drawn anew; those that are gone keep nothing in memory. */
const drawn = new WeakMap<Element, () => void>();
onThemeAlways(() => document.querySelectorAll(".figure-drawing").forEach((holder) => drawn.get(holder)?.()));

/** Shows a figure with its buttons. It is drawn anew when the page turns dark or light. */
export function shown(figure: Figure): HTMLElement {
  const holder = h("div", { className: "figure-drawing" });
  const draw = () => {
    const drawing = figure.draw(theme());
    drawing.setAttribute("role", "img");
    drawing.setAttribute("aria-label", figure.says);
    holder.replaceChildren(drawing);
  };
  draw();
  drawn.set(holder, draw);
  return h("figure", { className: "figure" }, h("div", { className: "scroll", tabIndex: 0, aria: { role: "group", label: figure.says } }, holder), saveButtons(figure));
}

export function saveButtons(figure: Figure): HTMLElement {
  const png = button("PNG", () => void pngOf(figure).then((blob) => save(blob, `${figure.name}.png`)), "small quiet");
  const svg = button("SVG", () => save(svgOf(figure), `${figure.name}.svg`), "small quiet");
  png.setAttribute("aria-label", `Save as PNG: ${figure.says}`);
  svg.setAttribute("aria-label", `Save as SVG: ${figure.says}`);
  return h("div", { className: "save-figure" }, h("span", { className: "hint" }, "Save figure"), png, svg);
}

export function svgOf(figure: Figure): Blob {
  const drawing = figure.draw(PAPER);
  drawing.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new Blob([new XMLSerializer().serializeToString(drawing)], { type: "image/svg+xml" });
}

/** For print: three pixels for each of the drawing. */
const DENSITY = 3;

export async function pngOf(figure: Figure): Promise<Blob> {
  const drawing = figure.draw(PAPER);
  const [width, height] = [drawing.width.baseVal.value, drawing.height.baseVal.value];
  const address = URL.createObjectURL(svgOf(figure));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = h("canvas", { width: width * DENSITY, height: height * DENSITY });
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error(`${figure.name}: too large for a picture`))), "image/png");
    });
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Letters of a name that are shown in a figure, and the width that one takes. */
const [LETTERS, LETTER] = [40, 7];

export const clipped = (name: string, letters = LETTERS): string => (name.length > letters ? `${name.slice(0, letters - 1)}…` : name);

/** Room for any of the names. */
export const roomFor = (names: string[]): number => LETTER * Math.max(0, ...names.map((name) => Math.min(LETTERS, name.length)));

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
