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
  demo: part("demo", HTMLButtonElement),
  run: part("run", HTMLElement),
  runTitle: part("run-title", HTMLElement),
  progress: part("progress", HTMLProgressElement),
  progressText: part("progress-text", HTMLElement),
  cancel: part("cancel", HTMLButtonElement),
  error: part("error", HTMLElement),
  errorText: part("error-text", HTMLElement),
  errorHelp: part("error-help", HTMLElement),
  results: part("results", HTMLElement),
  report: part("report", HTMLUListElement),
  types: part("types", HTMLTableElement),
  cells: part("cells", HTMLTableElement),
  save: part("save", HTMLAnchorElement),
  version: part("version", HTMLElement),
};
