// A line drawn around cells with a mouse, a finger or a pen.

import { s } from "../dom";

/** A corner of the line, in pixels of the map. */
export type Corner = [x: number, y: number];

/** Listens on `over`, which lies on the map, and calls `drawn` with the closed line. */
export function lasso(over: HTMLElement, drawn: (line: Corner[]) => void): void {
  let line: Corner[] = [];
  const path = s("path", { class: "lasso-line" });
  over.append(s("svg", { "aria-hidden": "true" }, path));
  const corner = (event: PointerEvent): Corner => {
    const { left, top } = over.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const show = () => path.setAttribute("d", line.length > 1 ? `M${line.map((at) => at.map((n) => n.toFixed(1)).join(" ")).join("L")}Z` : "");
  over.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    over.setPointerCapture(event.pointerId);
    line = [corner(event)];
    event.preventDefault();
  });
  over.addEventListener("pointermove", (event) => {
    const last = line.at(-1);
    if (!last) return;
    const at = corner(event);
    if (Math.hypot(at[0] - last[0], at[1] - last[1]) < 3) return;
    line.push(at);
    show();
  });
  const end = () => {
    const closed = line;
    line = [];
    show();
    if (closed.length > 2) drawn(closed);
  };
  over.addEventListener("pointerup", end);
  over.addEventListener("pointercancel", end);
}

/** Indices of the points inside a closed line, by the even-odd rule; `isShown` leaves out what is hidden. */
export function inside(line: Corner[], positions: Float32Array, isShown: (cell: number) => boolean): Uint32Array {
  const xs = line.map(([x]) => x);
  const ys = line.map(([, y]) => y);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found: number[] = [];
  for (let cell = 0; 2 * cell < positions.length; cell++) {
    const [x, y] = [positions[2 * cell] as number, positions[2 * cell + 1] as number];
    if (x < left || x > right || y < low || y > high || !isShown(cell)) continue;
    let isInside = false;
    for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
      const [[ax, ay], [bx, by]] = [line[i] as Corner, line[j] as Corner];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) isInside = !isInside;
    }
    if (isInside) found.push(cell);
  }
  return Uint32Array.from(found);
}
