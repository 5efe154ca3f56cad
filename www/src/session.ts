// One matrix on the page, from what was found in it to its results.

import { type AnalyseOptions, type Analysis, type AnnotateOptions, type InputOptions, type Inspection, type MatrixInput, type ScDiVa, ScDiVaError } from "scdiva";
import { estimateText, trySpeed } from "./estimate";
import { isCancelled, showError, Unusable } from "./failure";
import { cells, count } from "./format";
import { type Choices, showFound, takeTyped } from "./found";
import { chosenHead, chosenTissue } from "./heads";
import type { Matrix } from "./input";
import { fileOpened } from "./offline";
import { page } from "./page";
import { LEARNING, RunProgress } from "./progress";
import { learn, leaveReference, offerReference } from "./reference";
import { showResults } from "./results/results";
import { answersOf, meansOf, Study } from "./study";
import { isStudyFile, openStudy } from "./studyfile";
import type { View } from "./view";

export class Session {
  readonly name: string;
  readonly #matrix: Matrix;
  readonly #model: () => Promise<ScDiVa>;
  #input: MatrixInput | undefined;
  #found: Inspection | undefined;
  #choices: Choices = {};
  /** Those with which `#found` was found. */
  #seen: Choices | undefined;
  #study: Study | undefined;
  #view: View | undefined;
  /** Of whatever is under way: a look, a trial of the speed, a run. */
  #work = new AbortController();
  #isRunning = false;
  #isLearning = false;
  #isClosed = false;

  constructor(matrix: Matrix, model: () => Promise<ScDiVa>) {
    this.name = matrix.name;
    this.#matrix = matrix;
    this.#model = model;
    clear();
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** What it is at, said of its name. */
  get doing(): string {
    return this.#isLearning ? "still teaches its types" : "is still being annotated";
  }

  /** Whether there are results that nobody took home. */
  get isUnsaved(): boolean {
    return this.#study !== undefined && !this.#study.isSaved && !this.#matrix.isDemo;
  }

  /** They were taken home with those of other samples. */
  saved(): void {
    if (this.#study) this.#study.isSaved = true;
  }

  /** Writes the table of what was annotated, with the threshold that was chosen; `undefined` before. */
  get table(): (() => Promise<Blob>) | undefined {
    const [study, view] = [this.#study, this.#view];
    return study && view && (() => study.live.csv({ minProbability: view.threshold }));
  }

  /** Stands on the page again, as it was left; or for the first time. */
  async show(): Promise<void> {
    clear();
    if (!this.#found) return this.look();
    this.#begin();
    const isUsable = this.#show(this.#found);
    if (!this.#study || !this.#view) {
      if (isUsable) void this.#try(this.#found, await this.#model());
      return;
    }
    const { threshold, labelling, colouring, embedding } = this.#view;
    this.#view = showResults(this.#study, { threshold, labelling, colouring, embedding });
    this.#annotated();
  }

  /** Another one stands on the page. What was annotated stays open. */
  leave(): void {
    this.#work.abort();
    // What comes of it is not for the page that another one has.
    this.#work = new AbortController();
  }

  /** Looks at the matrix with the choices made so far, and says what was found; and how long it would take, unless it starts at once. */
  async look(startsAtOnce = false): Promise<void> {
    const signal = this.#begin();
    const choices = this.#choices;
    page.status.textContent = `Reading ${this.name} …`;
    page.found.classList.add("looking");
    try {
      const scdiva = await this.#model();
      if (!this.#input) {
        this.#input = await this.#matrix.input(signal);
        // The part that draws the map is asked for before, not while the file is open.
        await import("./results/map");
        fileOpened();
      }
      this.#found = await untilAborted(signal, scdiva.inspect(this.#input, { ...this.#reading(), signal }));
      this.#seen = choices;
      if (this.#show(this.#found) && !startsAtOnce) void this.#try(this.#found, scdiva);
    } catch (error) {
      if (!signal.aborted && !isCancelled(error)) showError(error);
    } finally {
      page.found.classList.remove("looking");
    }
  }

  /** Says whether the matrix can be annotated. */
  #show(found: Inspection): boolean {
    showFound(found, this.#choices);
    offerReference(found);
    page.foundDetails.open = true;
    page.go.hidden = found.problem !== null;
    page.annotate.textContent = `Annotate ${cells(found.nCells)}`;
    page.status.textContent = page.foundSummary.textContent;
    if (found.problem !== null) showError(new Unusable(found.problem));
    else page.annotate.focus({ preventScroll: true });
    return found.problem === null;
  }

  async #try(found: Inspection, scdiva: ScDiVa): Promise<void> {
    const { signal } = this.#work;
    page.estimate.textContent = "Measuring the speed on the first cells …";
    try {
      const cellsPerSecond = await trySpeed(scdiva, this.#input as MatrixInput, this.#answering(), signal);
      if (!signal.aborted) page.estimate.textContent = estimateText(found, scdiva.info, cellsPerSecond);
    } catch (error) {
      if (signal.aborted) return;
      // What else is wrong, if anything, the run itself will say.
      page.estimate.textContent = error instanceof ScDiVaError && error.code === "argument" ? error.message : estimateText(found, scdiva.info, undefined);
    }
  }

  /** Shows an analysis that was saved on this page. */
  async reopen(): Promise<void> {
    const signal = this.#begin();
    try {
      const file = (await this.#matrix.input(signal)) as Blob;
      const { study, look } = await openStudy(file, this.name);
      if (signal.aborted) return;
      showResults(study, look);
      page.status.textContent = `${study.answers.name}: a saved analysis of ${cells(study.answers.cells.length)}.`;
      page.results.focus({ preventScroll: true });
    } catch (error) {
      if (!signal.aborted) showError(error);
    }
  }

  /** Another choice: the matrix is looked at again. The focus stays where the choice was made, so what came of it is said. */
  async choose(change: Choices): Promise<void> {
    // The run has its choices.
    if (this.#isRunning) return;
    this.#choices = { ...this.#choices, ...change };
    const { activeElement } = document;
    await this.look();
    if (activeElement instanceof HTMLElement) activeElement.focus({ preventScroll: true });
  }

  /** Annotates all cells and shows what came of it. */
  async annotate(): Promise<void> {
    if (!this.#found || this.#isRunning || !page.minCounts.reportValidity()) return;
    const typed = takeTyped();
    if (Object.keys(typed).length > 0) this.#choices = { ...this.#choices, ...typed };
    // From here on, so that neither another sample nor another choice comes between.
    this.#isRunning = true;
    lockChoices(true);
    // A choice of this moment: what it makes of the matrix is shown beside the results.
    if (this.#seen !== this.#choices) await this.look(true);
    if (this.#seen !== this.#choices || this.#found.problem !== null || this.#isClosed) {
      this.#isRunning = false;
      lockChoices(false);
      return;
    }
    const signal = this.#begin();
    for (const part of [page.results, page.go, page.error]) part.hidden = true;
    page.status.textContent = `Annotating ${this.name} …`;
    const start = performance.now();
    try {
      const scdiva = await untilAborted(signal, this.#model());
      const { groups } = this.#choices;
      const work = this.#analyse(scdiva, signal);
      work.catch((error: unknown) => this.#stopped(signal, error));
      const analysis = await untilAborted(signal, work);
      const means = meansOf(scdiva.info, groups ?? null, (performance.now() - start) / 1000);
      // Those before stay until there are others.
      this.#study?.dispose();
      this.#study = new Study(answersOf(analysis), means, analysis);
      page.run.hidden = true;
      this.#view = showResults(this.#study);
      page.results.focus({ preventScroll: true });
      page.results.scrollIntoView({ block: "start" });
      page.status.textContent = `${this.name}: ${cells(analysis.cells.length)} annotated.`;
      this.#annotated();
    } catch (error) {
      if (!signal.aborted && !isCancelled(error)) showError(error);
    } finally {
      // Also where another matrix took its place: it was not looked at yet.
      this.#isRunning = false;
      page.run.hidden = true;
      page.go.hidden = false;
      lockChoices(false);
      if (signal === this.#work.signal && !this.#isClosed) page.results.hidden = this.#study === undefined;
    }
  }

  /** The worker has ended: what it keeps is known now, a moment after the page was free. */
  #stopped(signal: AbortSignal, error: unknown): void {
    if (signal !== this.#work.signal || !this.#found || !(error instanceof ScDiVaError) || error.nKept === 0) return;
    page.estimate.textContent = `${count(error.nKept)} of ${count(this.#found.nCells)} cells are annotated and kept. It goes on from there, unless a choice above is changed.`;
    if (!this.#study) page.annotate.textContent = "Go on";
  }

  #annotated(): void {
    page.annotate.textContent = "Annotate again";
    page.estimate.textContent = "";
    page.foundDetails.open = false;
  }

  #analyse(scdiva: ScDiVa, signal: AbortSignal): Promise<Analysis> {
    const progress = new RunProgress(`Annotating ${this.name}`, place(scdiva));
    page.cancel.focus({ preventScroll: true });
    const { groups } = this.#choices;
    const options: AnalyseOptions = {
      ...this.#answering(),
      groups,
      signal,
      onProgress: (step) => signal.aborted || progress.show(step),
      onBatch: (batch) => signal.aborted || progress.batch(batch),
    };
    return scdiva.analyse(this.#input as MatrixInput, options);
  }

  /** How the matrix is read. */
  #reading(): InputOptions {
    const { layer, geneColumn, species, minCounts } = this.#choices;
    return { name: this.name, layer, geneColumn, species, minCounts };
  }

  /** And which types are named. The threshold is the head's own. */
  #answering(): Omit<AnnotateOptions, "onProgress"> {
    const head = chosenHead();
    return { ...this.#reading(), tissue: chosenTissue(), ...(head !== undefined && { head }) };
  }

  /** Teaches the model the types of this file. */
  async learn(): Promise<void> {
    if (!this.#input || this.#isRunning) return;
    const signal = this.#begin();
    const { name: _, ...reading } = this.#reading();
    this.#isRunning = this.#isLearning = true;
    page.go.hidden = page.referenceLearn.disabled = true;
    lockChoices(true);
    try {
      const scdiva = await untilAborted(signal, this.#model());
      const progress = new RunProgress(`Learning the types of ${this.name}`, place(scdiva), LEARNING);
      page.cancel.focus();
      await untilAborted(signal, learn(scdiva, this.#input, { ...reading, signal }, progress));
      page.referenceLearn.scrollIntoView({ block: "center" });
    } catch (error) {
      if (!signal.aborted && !isCancelled(error)) showError(error);
    } finally {
      this.#isRunning = this.#isLearning = false;
      page.run.hidden = true;
      page.go.hidden = page.referenceLearn.disabled = false;
      lockChoices(false);
    }
    // The trial had to wait.
    if (!signal.aborted && this.#found && !this.#study) void this.#try(this.#found, await this.#model());
  }

  /** Stops what runs; the matrix stays, and can be annotated again. */
  cancel(): void {
    this.#work.abort();
    page.run.hidden = true;
    page.go.hidden = false;
    page.status.textContent = "Cancelled.";
    page.estimate.textContent = this.#study ? "Cancelled. The results below are those from before." : "Cancelled. It can be started again.";
    page.referenceLearn.disabled = false;
    (this.#isLearning ? page.referenceLearn : page.annotate).focus();
  }

  /** The model or its device is another: what stands on the page was the old one's. A reopened analysis needs none, and stays. */
  async renew(): Promise<void> {
    if (isStudyFile(this.name)) return;
    this.#work.abort();
    this.#study?.dispose();
    this.#study = this.#view = undefined;
    page.run.hidden = true;
    page.results.hidden = true;
    await this.look();
  }

  /** Another matrix takes its place. */
  close(): void {
    this.#isClosed = true;
    this.leave();
    this.#study?.dispose();
  }

  #begin(): AbortSignal {
    this.#work.abort();
    this.#work = new AbortController();
    page.error.hidden = true;
    return this.#work.signal;
  }
}

/** While a run has its choices. */
function lockChoices(isLocked: boolean): void {
  for (const input of page.choices.querySelectorAll<HTMLInputElement | HTMLSelectElement>("select, input")) input.disabled = isLocked;
}

/** The page without a matrix. */
function clear(): void {
  takeTyped();
  leaveReference();
  for (const part of [page.found, page.results, page.run, page.error]) part.hidden = true;
  page.report.replaceChildren();
  document.body.classList.add("working");
}

/** Where it is computed, in words. */
function place({ info: { device } }: ScDiVa): string {
  return device.kind === "cpu" ? "on the processor" : `on ${device.name}`;
}

/** The page is free at once, also while the worker ends its last batch. */
function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  return Promise.race([work, aborted]);
}
