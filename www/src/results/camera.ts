// What part of the plane is looked at.

import type { Painted, Placed } from "./plane";

/** So far beyond all cells, and so near, one can go: in powers of two. */
const [OUT, IN] = [1, 8];

/** From the plane of the cells to pixels: `x = (at.x - originX) * scale`, `y = (originY - at.y) * scale`. */
export interface Projection {
  scale: number;
  originX: number;
  originY: number;
}

export class Camera {
  x = 0;
  y = 0;
  zoom = 0;
  /** The zoom that shows all cells. */
  #whole = 0;
  #placed: Placed | undefined;
  #isMoved = false;
  readonly #view: HTMLElement;

  constructor(view: HTMLElement) {
    this.#view = view;
  }

  fit(placed: Placed): void {
    const { clientWidth, clientHeight } = this.#view;
    const { centre, width, height } = placed;
    [this.x, this.y] = centre;
    this.#whole = this.zoom = Math.log2(Math.min((clientWidth || 600) / width, (clientHeight || 400) / height) * 0.88);
    this.#placed = placed;
    this.#isMoved = false;
  }

  /** The view has another size: it shows all cells as before, or as much of them as was chosen by hand. */
  resized(): void {
    if (!this.#placed || this.#view.clientWidth === 0) return;
    const { x, y, zoom } = this;
    const [before, isMoved] = [this.#whole, this.#isMoved];
    this.fit(this.#placed);
    if (isMoved) this.look(x, y, zoom + this.#whole - before);
  }

  /** By hand. */
  look(x: number, y: number, zoom: number): void {
    [this.x, this.y, this.zoom] = [x, y, this.within(zoom)];
    this.#isMoved = true;
  }

  /** The place under `at`, in pixels of the view, stays where it is; without it the middle. */
  zoomBy(steps: number, at?: [x: number, y: number]): void {
    const { clientWidth, clientHeight } = this.#view;
    const [dx, dy] = at ? [at[0] - clientWidth / 2, clientHeight / 2 - at[1]] : [0, 0];
    const before = 2 ** this.zoom;
    const after = 2 ** this.within(this.zoom + steps);
    this.look(this.x + dx / before - dx / after, this.y + dy / before - dy / after, Math.log2(after));
  }

  within(zoom: number): number {
    return Math.min(this.#whole + IN, Math.max(this.#whole - OUT, zoom));
  }

  /** By pixels. */
  pan(dx: number, dy: number): void {
    this.look(this.x + dx / 2 ** this.zoom, this.y - dy / 2 ** this.zoom, this.zoom);
  }

  get projection(): Projection {
    const { clientWidth, clientHeight } = this.#view;
    const scale = 2 ** this.zoom;
    return { scale, originX: this.x - clientWidth / 2 / scale, originY: this.y + clientHeight / 2 / scale };
  }
}

/** Something that draws cells as points and can be moved. */
export interface CellMap {
  readonly camera: Camera;
  /** Called after every move. */
  onMove: () => void;
  onHover: (cell: number, x: number, y: number) => void;
  place(placed: Placed): void;
  paint(painted: Painted): void;
  /** Draws anew, after the camera was moved from outside. */
  moved(): void;
  dispose(): void;
}
