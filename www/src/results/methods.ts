// A paragraph for a paper: what was done, with what, and whom to cite.

import { cells, count, percent, threshold as written } from "../format";
import { sharedOf } from "../found";
import type { View } from "../view";

/** As CITATION.cff has it. */
const PAPER =
  "Wang M, Chen C, Jiang G, Ren Z, Zhao C, Shi L, Ma Y. ScDiVa: Masked Discrete Diffusion for Joint Modeling of Single-Cell Identity and Expression. " +
  "Proceedings of Machine Learning Research 306 (ICML 2026). arXiv:2602.03477.";

export function methods({ study, threshold, labelling }: View): string {
  const { answers, means } = study;
  const { report, model, labels, umap, cluster } = answers;
  const nGroups = new Set(cluster?.filter((group) => group >= 0)).size;
  const { genes, droplets } = report;
  const mapped = genes.species === "mouse" ? "mouse genes, mapped to their one-to-one human orthologs" : "human genes";
  const parts = [
    `Cell types of ${cells(answers.cells.length)} were predicted with scdiva ${means.version} (model ${model.name}, ${(means.nParameters / 1e6).toFixed(1)} M parameters, head ${model.head} with ${labels.length} types; SHA-256 of the model ${model.hash.slice(0, 16)}).`,
    `Values were read from ${report.matrix} (${report.values.text}); ${count(genes.nMatched)} ${mapped} were known to the model, ${percent(genes.share)} of ${sharedOf(genes) === "its" ? "those in the file" : "the model’s"}.`,
  ];
  if (droplets) parts.push(`${count(droplets.nDropped)} of ${count(droplets.nBarcodes)} barcodes with fewer than ${count(droplets.minCounts)} counts were left out as empty droplets.`);
  const kept = answers.tissue === "any" ? "types of all tissues could be named" : "only its types were named";
  if (answers.tissueDecision) parts.push(`${answers.tissueDecision}; ${kept}.`);
  if (threshold > 0) parts.push(`Cells whose most probable label had a probability below ${written(threshold)} were left unassigned.`);
  if (cluster && means.groups !== null) parts.push(`Cells of each value of ${means.groups} (${nGroups} groups) voted on one label.`);
  else if (cluster) parts.push(`Clusters of similar cells (Leiden on the nearest neighbours of the embeddings, ${nGroups} clusters) voted on one label${labelling === "voted" ? ", which is the one reported" : ""}.`);
  if (umap) parts.push("The map is a UMAP of the embeddings.");
  parts.push(`Computed on the ${means.device}, in a web browser; no data left the machine.`, `The model has the architecture of scDiVa: ${PAPER}`);
  return parts.join(" ");
}
