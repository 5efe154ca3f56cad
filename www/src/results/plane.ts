// Where cells are on the map, and the map on a canvas: for pictures that are saved, and where a browser has no WebGL.

import { css } from "../palette";

/** Two coordinates a cell, and what a view has to know of them. */
export interface Placed {
  positions: Float32Array;
  centre: [number, number];
  width: number;
  height: number;
  /** Of a point, in the same measure. */
  radius: number;
}

export interface Painted {
  /** RGBA of every cell, in the order of the file. */
  colours: Uint8Array;
  order: Uint32Array | null;
}

export function placedAt(positions: Float32Array): Placed {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < positions.length; i += 2) {
    const [x, y] = [positions[i] as number, positions[i + 1] as number];
    if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
    [left, right, low, high] = [Math.min(left, x), Math.max(right, x), Math.min(low, y), Math.max(high, y)];
  }
  const [width, height] = [Math.max(right - left, 1e-6), Math.max(high - low, 1e-6)];
  const n = positions.length / 2;
  // Points cover about a quarter of the plane together, and are no dust and no plates.
  const radius = (Math.max(width, height) * Math.min(0.012, Math.max(0.0006, 0.3 / Math.sqrt(n)))) / 2;
  return { positions, centre: [(left + right) / 2, (low + high) / 2], width, height, radius: radius * 1.4 };
}

/** Draws all cells into a canvas of `side` pixels, fitted. */
export function paintCanvas(canvas: HTMLCanvasElement, placed: Placed, { colours, order }: Painted, margin = 0.05): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const { width, height } = canvas;
  const project = fitted(placed, width, height, margin);
  const radius = Math.max(0.7, placed.radius * project.scale);
  const n = placed.positions.length / 2;
  for (let i = 0; i < n; i++) {
    const cell = order ? (order[i] as number) : i;
    const alpha = colours[4 * cell + 3] as number;
    if (alpha === 0) continue;
    context.globalAlpha = alpha / 255;
    context.fillStyle = css([colours[4 * cell] as number, colours[4 * cell + 1] as number, colours[4 * cell + 2] as number]);
    const [x, y] = project.at(cell);
    if (radius < 1.2) context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
    else {
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.fill();
    }
  }
  context.globalAlpha = 1;
}

export function fitted({ positions, centre, width: w, height: h }: Placed, width: number, height: number, margin: number) {
  const scale = Math.min(width / w, height / h) * (1 - 2 * margin);
  const at = (cell: number): [number, number] => [
    width / 2 + ((positions[2 * cell] as number) - centre[0]) * scale,
    height / 2 - ((positions[2 * cell + 1] as number) - centre[1]) * scale,
  ];
  return { scale, at };
}

/** Where the name of each group stands: over the middle of its cells, at their upper end. `null` for a group without cells. */
export function namePlaces(positions: Float32Array, codes: Int32Array, n: number): ([number, number] | null)[] {
  const every = Math.max(1, Math.floor(codes.length / 50_000));
  const xs: number[][] = Array.from({ length: n }, () => []);
  const ys: number[][] = Array.from({ length: n }, () => []);
  for (let cell = 0; cell < codes.length; cell += every) {
    const [x, y] = [positions[2 * cell] as number, positions[2 * cell + 1] as number];
    if (!Number.isFinite(x)) continue;
    xs[codes[cell] as number]?.push(x);
    ys[codes[cell] as number]?.push(y);
  }
  const at = (values: number[], share: number) => values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))] as number;
  return xs.map((x, i) => (x.length === 0 ? null : [at(x, 0.5), at(ys[i] as number[], 0.96)]));
}
