// The parts of the page, found once.

function part<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

export const page = {
  deviceName: part("device-name", HTMLElement),
  deviceChoice: part("device-choice", HTMLSelectElement),
  deviceHint: part("device-hint", HTMLElement),
  drop: part("drop", HTMLElement),
  file: part("file", HTMLInputElement),
  folder: part("folder", HTMLInputElement),
  demo: part("demo", HTMLButtonElement),
  found: part("found", HTMLElement),
  report: part("report", HTMLUListElement),
  layerChoice: part("layer-choice", HTMLElement),
  layer: part("layer", HTMLSelectElement),
  species: part("species", HTMLSelectElement),
  minCountsChoice: part("min-counts-choice", HTMLElement),
  minCounts: part("min-counts", HTMLInputElement),
  run: part("run", HTMLElement),
  runTitle: part("run-title", HTMLElement),
  progress: part("progress", HTMLProgressElement),
  progressText: part("progress-text", HTMLElement),
  cancel: part("cancel", HTMLButtonElement),
  error: part("error", HTMLElement),
  errorTitle: part("error-title", HTMLElement),
  errorText: part("error-text", HTMLElement),
  errorHelp: part("error-help", HTMLElement),
  results: part("results", HTMLElement),
  resultsStatus: part("results-status", HTMLElement),
  types: part("types", HTMLTableElement),
  cells: part("cells", HTMLTableElement),
  save: part("save", HTMLAnchorElement),
  version: part("version", HTMLElement),
};
