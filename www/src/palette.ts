// Colours: one for each label, always the same, and a ramp for numbers.

/**
 * Okabe and Ito's eight, which people with any colour vision tell apart, first; then further ones that differ in lightness from those next to
 * them. All are seen on a white and on a near-black ground. Names stand on the map itself, so that colour is never the only sign.
 */
const CATEGORICAL = [
  "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#cc79a7", "#009e73", "#8cc665", "#a65fc4",
  "#b8a12a", "#8c6d5a", "#e8788a", "#4f8f8b", "#c0a0e0", "#7a8f2f", "#b0483f", "#4aa3a0",
  "#6f7fd8", "#d9a27a", "#9a7a9e", "#3f9edb", "#c25b93", "#7fb8a0", "#b77b2b", "#8a93a5",
];

/** For cells that have no label, of whatever reason. */
export const NONE = "#9aa3a7";

export const categorical = (index: number): string => CATEGORICAL[index % CATEGORICAL.length] ?? NONE;

/** Viridis, at equal steps: even in lightness, safe for any colour vision. */
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"].map(rgb);

/** Colour of a share of 0 to 1. The dark end is lifted on a dark ground, where it would vanish. */
export function ramp(share: number, dark: boolean): [number, number, number] {
  const from = dark ? 0.12 : 0;
  const at = (from + Math.min(1, Math.max(0, share)) * (1 - from)) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const [a, b] = [VIRIDIS[low] as Colour, VIRIDIS[low + 1] as Colour];
  const mix = (i: 0 | 1 | 2) => Math.round(a[i] + (at - low) * (b[i] - a[i]));
  return [mix(0), mix(1), mix(2)];
}

type Colour = [number, number, number];

export function rgb(hex: string): Colour {
  const n = Number.parseInt(hex.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}

export const css = ([r, g, b]: Colour): string => `rgb(${r},${g},${b})`;

/** What a figure is drawn with: the page's own colours, or those of paper for what is saved. */
export interface Theme {
  dark: boolean;
  ground: string;
  text: string;
  quiet: string;
  line: string;
}

export const PAPER: Theme = { dark: false, ground: "#ffffff", text: "#1c2321", quiet: "#58625f", line: "#dcdfdd" };
const NIGHT: Theme = { dark: true, ground: "#1b2124", text: "#e6eae8", quiet: "#a3afab", line: "#333c40" };

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
export const theme = (): Theme => (prefersDark.matches ? NIGHT : PAPER);

/** Of the results on the page; those of earlier ones must not keep their cells in memory. */
let listeners: (() => void)[] = [];
prefersDark.addEventListener("change", () => listeners.forEach((listener) => listener()));
export const onThemeAlways = (changed: () => void): void => prefersDark.addEventListener("change", changed);
export const onTheme = (changed: () => void): void => void listeners.push(changed);
export const forgetThemed = (): void => void (listeners = []);
