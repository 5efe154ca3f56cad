// How good the cells are, as the file has them: genes seen, sum of values, mitochondrial share.

import { h, help, s } from "../dom";
import { count, percent } from "../format";
import type { Theme } from "../palette";
import type { View } from "../view";
import { FONT, type Figure, panel, shown } from "./panel";

const N_BINS = 40;
const [WIDTH, HEIGHT] = [300, 170];

export function qcPanel({ study }: View): HTMLElement {
  const { nGenes, total, mitochondrial } = study.answers.qc;
  const whole = (value: number) => count(Math.round(value));
  const shownTotal = study.answers.report.values.kind === "counts" ? "Counts" : "Sum of values";
  const figures = [
    histogram(`${study.stem}.genes`, "Genes seen in a cell", nGenes, whole),
    histogram(`${study.stem}.total`, `${shownTotal} of a cell`, total, whole),
    histogram(`${study.stem}.mitochondrial`, "Mitochondrial share", mitochondrial, percent),
  ].filter((figure) => figure !== null);
  return panel(
    "qc",
    "Quality of the cells",
    h("div", { className: "qc" }, ...figures.map(shown)),
    figures.length < 3 && h("p", { className: "hint" }, "The file has no gene whose name begins with MT-, so no mitochondrial share can be given."),
    help("What is a bad cell?", "Few genes, few counts, or a large mitochondrial share (often above 10–20 %) point to broken cells or empty droplets; colour the map by them to see where these are."),
  );
}

/** `null` where no cell has a value. */
function histogram(name: string, title: string, values: ArrayLike<number>, format: (value: number) => string): Figure | null {
  const finite = Float32Array.from(values).filter(Number.isFinite).sort();
  if (finite.length === 0) return null;
  const at = (share: number) => finite[Math.floor(share * (finite.length - 1))] as number;
  const [low, high, median] = [0, Math.max(at(0.995), 1e-6), at(0.5)];
  const bins = new Uint32Array(N_BINS);
  for (const value of finite) (bins[Math.min(N_BINS - 1, Math.floor(((value - low) / (high - low)) * N_BINS))] as number)++;
  const most = Math.max(...bins);
  const [left, bottom, inner] = [10, HEIGHT - 28, WIDTH - 20];
  const draw = (theme: Theme) => {
    const svg = s("svg", { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "font-family": FONT, "font-size": 12, fill: theme.text });
    svg.append(s("rect", { width: WIDTH, height: HEIGHT, fill: theme.ground }), s("text", { x: left, y: 18, "font-weight": 600 }, title));
    bins.forEach((n, i) => {
      const tall = (n / most) * (bottom - 44);
      svg.append(s("rect", { x: left + (i * inner) / N_BINS, y: bottom - tall, width: inner / N_BINS - 1, height: tall, fill: theme.dark ? "#5cc8bd" : "#0f766e" }));
    });
    const x = left + ((median - low) / (high - low)) * inner;
    svg.append(s("line", { x1: x, x2: x, y1: 38, y2: bottom, stroke: theme.text, "stroke-dasharray": "3 3" }));
    svg.append(s("text", { x: Math.min(x + 4, WIDTH - 96), y: 36, fill: theme.quiet }, `median ${format(median)}`));
    svg.append(s("line", { x1: left, x2: left + inner, y1: bottom, y2: bottom, stroke: theme.line }));
    svg.append(s("text", { x: left, y: HEIGHT - 10, fill: theme.quiet }, format(low)));
    svg.append(s("text", { x: left + inner, y: HEIGHT - 10, "text-anchor": "end", fill: theme.quiet }, format(high)));
    return svg;
  };
  return { name, says: `${title}: median ${format(median)}, up to ${format(high)}`, draw };
}
