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

/** Squares along each side in which cells are counted. */
const N_SQUARES = 24;

/** Where the name of each group stands: over the place where most of its cells are. `null` for a group without cells. */
export function namePlaces({ positions, centre, width, height }: Placed, codes: Int32Array, n: number): ([number, number] | null)[] {
  const every = Math.max(1, Math.floor(codes.length / 50_000));
  const squares: Map<number, number[]>[] = Array.from({ length: n }, () => new Map());
  const side = Math.max(width, height) / N_SQUARES;
  for (let cell = 0; cell < codes.length; cell += every) {
    const column = Math.floor(((positions[2 * cell] as number) - centre[0]) / side) + N_SQUARES;
    const row = Math.floor(((positions[2 * cell + 1] as number) - centre[1]) / side) + N_SQUARES;
    if (!Number.isFinite(column)) continue;
    const of = squares[codes[cell] as number];
    const square = row * 4 * N_SQUARES + column;
    const cells = of?.get(square);
    if (cells) cells.push(cell);
    else of?.set(square, [cell]);
  }
  const at = (values: number[], share: number) => values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))] as number;
  return squares.map((of) => {
    const best = [...of].reduce<[number, number[]]>((most, some) => (some[1].length > most[1].length ? some : most), [0, []])[0];
    const near = [-1, 0, 1].flatMap((row) => [-1, 0, 1].flatMap((column) => of.get(best + row * 4 * N_SQUARES + column) ?? []));
    if (near.length === 0) return null;
    return [at(near.map((cell) => positions[2 * cell] as number), 0.5), at(near.map((cell) => positions[2 * cell + 1] as number), 0.96)];
  });
}
