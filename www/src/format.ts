// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en");

export const count = (n: number): string => whole.format(n);

export const cells = (n: number): string => (n === 1 ? "1 cell" : `${count(n)} cells`);

/** A little is not nothing, and nearly all is not all. */
export const percent = (share: number): string => {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share >= 0.9995 && share < 1) return "> 99.9 %";
  return `${(100 * share).toFixed((share > 0 && share < 0.0995) || (share > 0.99 && share < 1) ? 1 : 0)} %`;
};

/** A threshold to four digits, without those that say nothing. */
export const threshold = (p: number): string => String(Number(p.toFixed(4)));

export const probability = (p: number): string => (Number.isNaN(p) ? "–" : p.toFixed(3));

export const speed = (perSecond: number): string => (perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond)));

export function duration(seconds: number): string {
  const rounded = Math.ceil(seconds);
  if (rounded < 60) return `${rounded} s`;
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
  return `${Math.floor(rounded / 3600)} h ${Math.floor((rounded % 3600) / 60)} min`;
}

export function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 2e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
