// The cells as points without a graphics card: written into the pixels of a canvas. Where WebGL is imitated by the processor, deck.gl takes
// seconds for a hundred thousand cells; this takes some thousandths of one.

import { h } from "../dom";
import { Camera, type CellMap } from "./camera";
import type { Painted, Placed } from "./plane";

/** Looking for the nearest cell goes through all of them. */
const N_POINTED_AT = 200_000;
const NEAR_PIXELS = 8;

export class PixelMap implements CellMap {
  readonly camera: Camera;
  onMove: () => void = () => undefined;
  onHover: (cell: number, x: number, y: number) => void = () => undefined;
  readonly #container: HTMLElement;
  readonly #canvas = h("canvas", {});
  #placed: Placed | undefined;
  #painted: Painted | undefined;
  #frame = 0;

  constructor(container: HTMLElement) {
    this.#container = container;
    this.camera = new Camera(container);
    container.replaceChildren(this.#canvas);
    this.#listen();
  }

  place(placed: Placed): void {
    this.#placed = placed;
    this.camera.fit(placed);
    this.moved();
  }

  paint(painted: Painted): void {
    this.#painted = painted;
    this.moved();
  }

  moved(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
    this.onMove();
  }

  dispose(): void {
    cancelAnimationFrame(this.#frame);
  }

  #draw(): void {
    const [placed, painted, canvas] = [this.#placed, this.#painted, this.#canvas];
    const density = Math.min(2, devicePixelRatio);
    const [width, height] = [Math.round(this.#container.clientWidth * density), Math.round(this.#container.clientHeight * density)];
    if (!placed || !painted || painted.colours.length === 0 || width === 0) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const words = new Uint32Array(painted.colours.buffer, painted.colours.byteOffset, painted.colours.length / 4);
    const { scale, originX, originY } = this.camera.projection;
    const dots = disc(Math.min(7, Math.max(1, placed.radius * scale)) * density);
    const k = scale * density;
    const { positions } = placed;
    // What is faint must not cover what is not.
    for (const faint of [true, false]) {
      for (let i = 0; i < words.length; i++) {
        const cell = painted.order ? (painted.order[i] as number) : i;
        const word = words[cell] as number;
        const alpha = word >>> 24;
        if (alpha === 0 || alpha < 128 !== faint) continue;
        const x = Math.round(((positions[2 * cell] as number) - originX) * k);
        const y = Math.round((originY - (positions[2 * cell + 1] as number)) * k);
        if (!(x >= 8 && y >= 8 && x < width - 8 && y < height - 8)) continue;
        for (let j = 0; j < dots.length; j += 2) pixels[(y + (dots[j + 1] as number)) * width + x + (dots[j] as number)] = word;
      }
    }
    context.putImageData(image, 0, 0);
  }

  #listen(): void {
    const view = this.#container;
    const at = (event: MouseEvent): [number, number] => {
      const { left, top } = view.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    view.addEventListener("pointerdown", (event) => event.button === 0 && view.setPointerCapture(event.pointerId));
    view.addEventListener("pointermove", (event) => {
      if (view.hasPointerCapture(event.pointerId)) {
        this.camera.pan(-event.movementX, -event.movementY);
        this.moved();
        this.onHover(-1, 0, 0);
      } else this.onHover(this.#nearest(...at(event)), ...at(event));
    });
    view.addEventListener("pointerleave", () => this.onHover(-1, 0, 0));
    view.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.camera.zoomBy(-event.deltaY / 400, at(event));
        this.moved();
      },
      { passive: false },
    );
  }

  #nearest(x: number, y: number): number {
    const positions = this.#placed?.positions;
    if (!positions || !this.#painted || positions.length > 2 * N_POINTED_AT) return -1;
    const { scale, originX, originY } = this.camera.projection;
    const [px, py] = [originX + x / scale, originY - y / scale];
    let [best, least] = [-1, (NEAR_PIXELS / scale) ** 2];
    for (let cell = 0; 2 * cell < positions.length; cell++) {
      const distance = ((positions[2 * cell] as number) - px) ** 2 + ((positions[2 * cell + 1] as number) - py) ** 2;
      if (distance < least && this.#painted.colours[4 * cell + 3]) [best, least] = [cell, distance];
    }
    return best;
  }
}

/** The pixels of a point, as pairs of steps from its middle. */
function disc(radius: number): Int32Array {
  const steps: number[] = [];
  const reach = Math.min(8, Math.ceil(radius));
  for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) if (Math.hypot(dx + 0.25, dy + 0.25) <= radius) steps.push(dx, dy);
  return Int32Array.from(steps.length > 0 ? steps : [0, 0]);
}
