// Several files that are a matrix each: every one is looked at and annotated by itself, and all can be saved as one table; or all are
// looked at together, in one map.

import type { MatrixSamples, ScDiVa } from "scdiva";
import { askAnew, type Question } from "./busy";
import { h, save } from "./dom";
import { showError } from "./failure";
import type { Matrix } from "./input";
import { page } from "./page";
import { Session } from "./session";

export class Samples {
  readonly matrices: Matrix[];
  /** One a matrix. */
  readonly #sessions: Session[];
  /** All of them as one matrix. */
  readonly #together: Session;
  #shown: Session;
  #isRunning = false;
  #isClosed = false;

  constructor(matrices: Matrix[], model: () => Promise<ScDiVa>) {
    this.matrices = matrices;
    this.#sessions = matrices.map((matrix) => new Session(matrix, model));
    this.#together = new Session(joined(matrices), model);
    this.#shown = this.#sessions[0] as Session;
    page.samples.hidden = matrices.length < 2;
    page.samplesText.textContent = `${matrices.length} samples: each by itself, with its own map and clusters; or all together, in one map.`;
    page.samplesTogether.onclick = () => void this.#show(this.#together).then(() => page.samplesTogether.focus());
    page.samplesAll.onclick = () => void this.#annotateAll();
    page.samplesSave.onclick = () => void this.#save().catch(showError);
    this.mark();
  }

  /** The one on the page. */
  get session(): Session {
    return this.#shown;
  }

  get isRunning(): boolean {
    return this.#isRunning || this.session.isRunning;
  }

  get isUnsaved(): boolean {
    return [...this.#sessions, this.#together].some(({ isUnsaved }) => isUnsaved);
  }

  /** Whether something would be lost with them. */
  get isAtStake(): boolean {
    return this.isRunning || this.isUnsaved;
  }

  /** What the visitor is asked who wants to do something else. */
  question(doing: string): Question {
    const name = this.#sessions.length > 1 ? this.#together.name : this.session.name;
    if (this.isRunning) return { text: `${this.session.name} ${this.session.doing}. Stop that and ${doing}?`, stay: "Let it go on", leave: "Stop it" };
    if (this.isUnsaved) return { text: `${name} is annotated, and its results are not saved. Give them up and ${doing}?`, stay: "Keep the results", leave: "Give them up" };
    return { text: `${name} is at rest by now. Go on, and ${doing}?`, stay: "Stay here", leave: "Go on" };
  }

  /** Says which one is on the page, and which are annotated. */
  mark(): void {
    if (this.#isClosed) return;
    askAnew();
    const isRunning = this.isRunning;
    page.samplesList.replaceChildren(
      ...this.#sessions.map((session, i) => {
        const made = h("button", { type: "button", className: "small quiet", disabled: isRunning, aria: { pressed: String(session === this.#shown) } }, `${session.table ? "✓ " : ""}${session.name}`);
        made.addEventListener("click", () => void this.#show(session).then(() => (page.samplesList.children[i] as HTMLElement).focus()));
        return made;
      }),
    );
    page.samplesTogether.disabled = isRunning;
    page.samplesTogether.ariaPressed = String(this.#together === this.#shown);
    page.samplesTogether.textContent = `${this.#together.table ? "✓ " : ""}All together, in one map`;
    const nDone = this.#sessions.filter(({ table }) => table !== undefined).length;
    page.samplesAll.disabled = isRunning || nDone === this.#sessions.length;
    page.samplesSave.disabled = isRunning || nDone === 0;
    page.samplesSave.textContent = nDone === this.#sessions.length ? "One table of all (.csv)" : "One table of those annotated (.csv)";
  }

  async annotate(): Promise<void> {
    const running = this.session.annotate();
    this.mark();
    await running;
    this.mark();
  }

  async learn(): Promise<void> {
    const running = this.session.learn();
    this.mark();
    await running;
    this.mark();
  }

  cancel(): void {
    this.#isRunning = false;
    this.session.cancel();
    this.mark();
  }

  close(): void {
    this.#isClosed = true;
    this.#isRunning = false;
    for (const session of [...this.#sessions, this.#together]) session.close();
    page.samples.hidden = true;
  }

  async #show(session: Session): Promise<void> {
    this.#shown.leave();
    this.#shown = session;
    this.mark();
    await session.show();
  }

  /** One that cannot be annotated stays on the page with the reason, and the others wait. */
  async #annotateAll(): Promise<void> {
    this.#isRunning = true;
    for (const session of this.#sessions) {
      if (session.table !== undefined) continue;
      await this.#show(session);
      if (!this.#isRunning) break;
      await this.annotate();
      if (!this.#isRunning || session.table === undefined) break;
    }
    this.#isRunning = false;
    this.mark();
  }

  async #save(): Promise<void> {
    const tables: string[] = [];
    for (const session of this.#sessions) {
      const table = await session.table?.();
      if (table === undefined) continue;
      const [header, ...rows] = (await table.text()).trimEnd().split("\n");
      if (tables.length === 0) tables.push(`sample,${header}`);
      const name = /[",\n]/.test(session.name) ? `"${session.name.replaceAll('"', '""')}"` : session.name;
      for (const row of rows) tables.push(`${name},${row}`);
    }
    save(new Blob([`${tables.join("\n")}\n`], { type: "text/csv" }), "samples.scdiva.csv");
    for (const session of this.#sessions) session.saved();
  }
}

/** Several matrices as one, each by its name. */
function joined(matrices: Matrix[]): Matrix {
  const name = `${matrices.length} samples`;
  return {
    name,
    async input(signal) {
      const opened = await Promise.all(matrices.map(async (matrix) => [matrix.name, await matrix.input(signal)] as const));
      return { name, samples: Object.fromEntries(opened) as MatrixSamples["samples"] };
    },
  };
}
