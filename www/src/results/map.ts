// The cells as points, by deck.gl: it stays smooth at a million of them, and, unlike regl, compiles no code from strings, which the
// page's security policy forbids. Loaded only when there are results.

import { Deck, OrthographicView } from "@deck.gl/core";
import { ScatterplotLayer } from "@deck.gl/layers";
import type { Painted, Placed } from "./plane";

interface ViewState {
  target: [number, number, number];
  zoom: number;
  minZoom: number;
  maxZoom: number;
}

export class PointMap {
  readonly #deck: Deck<OrthographicView>;
  readonly #container: HTMLElement;
  #state: ViewState = { target: [0, 0, 0], zoom: 0, minZoom: -10, maxZoom: 12 };
  #placed: Placed | undefined;
  #painted: Painted | undefined;
  /** Called after every move. */
  onMove: () => void = () => undefined;
  onHover: (cell: number, x: number, y: number) => void = () => undefined;

  constructor(container: HTMLElement, failed: (error: Error) => void) {
    this.#container = container;
    this.#deck = new Deck({
      parent: container as HTMLDivElement,
      views: new OrthographicView({ flipY: false, controller: { dragRotate: false, scrollZoom: { speed: 0.02, smooth: false } } }),
      viewState: this.#state,
      onViewStateChange: ({ viewState }) => {
        this.#state = { ...this.#state, ...(viewState as Partial<ViewState>) };
        this.#deck.setProps({ viewState: this.#state });
        this.onMove();
      },
      onHover: ({ index, x, y }) => this.onHover(index < 0 ? -1 : (this.#painted?.order?.[index] ?? index), x, y),
      onError: failed,
      getCursor: ({ isDragging }) => (isDragging ? "grabbing" : "grab"),
      useDevicePixels: true,
    });
  }

  /** Where the cells are; the view is fitted to them. */
  place(placed: Placed): void {
    this.#placed = placed;
    this.fit();
  }

  paint(painted: Painted): void {
    this.#painted = painted;
    this.#draw();
  }

  fit(): void {
    if (!this.#placed) return;
    const { clientWidth, clientHeight } = this.#container;
    const { centre, width, height } = this.#placed;
    const zoom = Math.log2(Math.min((clientWidth || 600) / width, (clientHeight || 400) / height) * 0.9);
    this.#state = { target: [centre[0], centre[1], 0], zoom, minZoom: zoom - 1, maxZoom: zoom + 8 };
    this.#deck.setProps({ viewState: this.#state });
    this.onMove();
  }

  zoomBy(steps: number): void {
    const { zoom, minZoom, maxZoom } = this.#state;
    this.#state = { ...this.#state, zoom: Math.min(maxZoom, Math.max(minZoom, zoom + steps)) };
    this.#deck.setProps({ viewState: this.#state });
    this.onMove();
  }

  /** Moves by pixels. */
  pan(x: number, y: number): void {
    const { target, zoom } = this.#state;
    this.#state = { ...this.#state, target: [target[0] + x / 2 ** zoom, target[1] - y / 2 ** zoom, 0] };
    this.#deck.setProps({ viewState: this.#state });
    this.onMove();
  }

  /** From the plane of the cells to pixels of the container: `pixel = (at - origin) * scale`, downwards. */
  get projection(): { scale: number; originX: number; originY: number } {
    const { clientWidth, clientHeight } = this.#container;
    const scale = 2 ** this.#state.zoom;
    const [x, y] = this.#state.target;
    return { scale, originX: x - clientWidth / 2 / scale, originY: y + clientHeight / 2 / scale };
  }

  dispose(): void {
    this.#deck.finalize();
  }

  #draw(): void {
    if (!this.#placed || !this.#painted) return;
    const { positions, colours, length } = inOrder(this.#placed.positions, this.#painted);
    this.#deck.setProps({
      layers: [
        new ScatterplotLayer({
          id: "cells",
          data: { length, attributes: { getPosition: { value: positions, size: 2 }, getFillColor: { value: colours, size: 4, normalized: true } } },
          getRadius: 1,
          radiusUnits: "common",
          radiusScale: this.#placed.radius,
          radiusMinPixels: length > 200_000 ? 0.6 : 1.2,
          radiusMaxPixels: 7,
          // Finding the cell under the pointer draws all of them once more.
          pickable: length <= 200_000,
          antialiasing: length <= 200_000,
          parameters: { depthWriteEnabled: false, depthCompare: "always" },
        }),
      ],
    });
  }
}

/** Positions and colours in the order of drawing. */
function inOrder(positions: Float32Array, { colours, order }: Painted): { positions: Float32Array; colours: Uint8Array; length: number } {
  const length = positions.length / 2;
  if (!order) return { positions, colours, length };
  const [placed, painted] = [new Float32Array(2 * length), new Uint32Array(length)];
  const words = new Uint32Array(colours.buffer, colours.byteOffset, length);
  order.forEach((cell, i) => {
    placed[2 * i] = positions[2 * cell] as number;
    placed[2 * i + 1] = positions[2 * cell + 1] as number;
    painted[i] = words[cell] as number;
  });
  return { positions: placed, colours: new Uint8Array(painted.buffer), length };
}
