// The cells as points on a graphics card, by deck.gl: it stays smooth at a million of them, and, unlike regl, compiles no code from
// strings, which the page's security policy forbids. Loaded only when there are results.

import { Deck, OrthographicView } from "@deck.gl/core";
import { ScatterplotLayer } from "@deck.gl/layers";
import { Camera, type CellMap } from "./camera";
import type { Painted, Placed } from "./plane";

/** Finding the cell under the pointer draws all of them once more. */
const N_POINTED_AT = 200_000;

interface ViewState {
  target: [number, number, number?];
  zoom: number;
}

export class PointMap implements CellMap {
  readonly camera: Camera;
  readonly #deck: Deck<OrthographicView>;
  #placed: Placed | undefined;
  #painted: Painted | undefined;
  onMove: () => void = () => undefined;
  onHover: (cell: number, x: number, y: number) => void = () => undefined;

  constructor(container: HTMLElement, failed: (error: Error) => void) {
    this.camera = new Camera(container);
    this.#deck = new Deck({
      parent: container as HTMLDivElement,
      views: new OrthographicView({ flipY: false, controller: { dragRotate: false, keyboard: false, scrollZoom: { speed: 0.02, smooth: false } } }),
      viewState: this.#state,
      onViewStateChange: ({ viewState }) => {
        const { target, zoom } = viewState as unknown as ViewState;
        this.camera.look(target[0], target[1], zoom);
        this.moved();
      },
      onHover: ({ index, x, y }) => this.onHover(index < 0 ? -1 : (this.#painted?.order?.[index] ?? index), x, y),
      onError: failed,
      getCursor: ({ isDragging }) => (isDragging ? "grabbing" : "grab"),
    });
  }

  place(placed: Placed): void {
    this.#placed = placed;
    this.camera.fit(placed);
    this.moved();
  }

  paint(painted: Painted): void {
    this.#painted = painted;
    if (!this.#placed) return;
    const { positions, colours, length } = inOrder(this.#placed.positions, painted);
    this.#deck.setProps({
      layers: [
        new ScatterplotLayer({
          id: "cells",
          data: { length, attributes: { getPosition: { value: positions, size: 2 }, getFillColor: { value: colours, size: 4, normalized: true } } },
          getRadius: 1,
          radiusUnits: "common",
          radiusScale: this.#placed.radius,
          radiusMinPixels: length > N_POINTED_AT ? 0.6 : 1.2,
          radiusMaxPixels: 7,
          pickable: length <= N_POINTED_AT,
          antialiasing: length <= N_POINTED_AT,
          parameters: { depthWriteEnabled: false, depthCompare: "always" },
        }),
      ],
    });
  }

  moved(): void {
    this.#deck.setProps({ viewState: this.#state });
    this.onMove();
  }

  dispose(): void {
    this.#deck.finalize();
  }

  get #state(): { target: [number, number, number]; zoom: number } {
    return { target: [this.camera.x, this.camera.y, 0], zoom: this.camera.zoom };
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
