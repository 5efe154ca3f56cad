// The command's table of cell types, and how far another answer may be from it.

import assert from "node:assert/strict";

/** `cell,label,probability,second_label,second_probability`, without quotes: names of cells and labels here have no commas. */
export function parse(text) {
  const [header, ...lines] = text.trimEnd().split("\n");
  assert.equal(header, "cell,label,probability,second_label,second_probability");
  return lines.map((line) => {
    const [cell, label, probability, secondLabel, secondProbability] = line.split(",");
    return { cell, label, probability: Number(probability), secondLabel, secondProbability: Number(secondProbability) };
  });
}

/** Probabilities agree to 1e-3; labels agree, unless two are as probable as each other to within that. */
export function assertSame(got, wanted) {
  assert.ok(wanted.length > 0);
  assert.deepEqual(got.map((row) => row.cell), wanted.map((row) => row.cell));
  got.forEach((row, i) => {
    const other = wanted[i];
    const near = (a, b) => assert.ok(Math.abs(a - b) <= 1e-3, `${row.cell}: ${a} and ${b}`);
    near(row.probability, other.probability);
    near(row.secondProbability, other.secondProbability);
    const tie = other.probability - other.secondProbability <= 2e-3;
    if (!tie) assert.equal(row.label, other.label, row.cell);
  });
}
