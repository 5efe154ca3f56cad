// An analysis as one file: a gzipped header of JSON, in which every typed array is a reference, then the arrays.

import { Study, answersOf, type Answers, type Kept, type Means } from "./study";
import type { Colouring, Labelling, View } from "./view";

const MAGIC = "scdiva analysis 1\n";
const KINDS = { Int32Array, Uint32Array, Float32Array } as const;
type Kind = keyof typeof KINDS;
type Numbers = Int32Array | Uint32Array | Float32Array;

interface Reference {
  $array: Kind;
  offset: number;
  length: number;
}

/** What is in the file. */
interface Saved {
  answers: Answers;
  means: Means;
  kept: { [K in keyof Kept]: [string, unknown][] };
  look: { threshold: number; labelling: Labelling; colouring: Colouring; embedding: string | null };
}

export async function saveStudy({ study, threshold, labelling, colouring, embedding }: View): Promise<Blob> {
  const { genes, columns, embeddings, markers, dots } = study.kept;
  const kept = { genes: [...genes], columns: [...columns], embeddings: [...embeddings], markers: [...markers], dots: [...dots] };
  const saved: Saved = { answers: answersOf(study.answers), means: study.means, kept, look: { threshold, labelling, colouring, embedding } };
  const arrays: Numbers[] = [];
  let offset = 0;
  const header = JSON.stringify(saved, (_, value: unknown) => {
    const kind = (Object.keys(KINDS) as Kind[]).find((name) => value instanceof KINDS[name]);
    if (!kind) return value;
    const array = value as Numbers;
    arrays.push(array);
    const reference: Reference = { $array: kind, offset, length: array.length };
    offset += array.byteLength;
    return reference;
  });
  const text = new TextEncoder().encode(header);
  const length = new Uint32Array([text.length]);
  const parts = [MAGIC, length, text, ...arrays.map((array) => array as Numbers & ArrayBufferView<ArrayBuffer>)] as BlobPart[];
  const gzip = new Blob(parts).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(gzip).blob();
}

export const isStudyFile = (name: string): boolean => /\.scdiva$/i.test(name);

/** Opens what `saveStudy` wrote. Throws an error that names the file when it is something else. */
export async function openStudy(file: Blob, name: string): Promise<{ study: Study; look: Saved["look"] }> {
  const bytes = await unpacked(file).catch(() => undefined);
  const start = MAGIC.length + 4;
  if (!bytes || new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC) {
    throw new Error(`${name}: no analysis saved on this page, or one of another version; wanted a file that begins with “${MAGIC.trim()}”, gzipped`);
  }
  const length = new DataView(bytes.buffer).getUint32(MAGIC.length, true);
  try {
    const data = bytes.slice(start + length).buffer;
    const saved = JSON.parse(new TextDecoder().decode(bytes.subarray(start, start + length)), (_, value: unknown) => {
      if (typeof value !== "object" || value === null || !("$array" in value)) return value;
      const { $array, offset, length: n } = value as Reference;
      return new KINDS[$array](data, offset, n);
    }) as Saved;
    const { genes, columns, embeddings, markers, dots } = saved.kept as unknown as { [K in keyof Kept]: [string, never][] };
    const kept: Kept = { genes: new Map(genes), columns: new Map(columns), embeddings: new Map(embeddings), markers: new Map(markers), dots: new Map(dots) };
    return { study: new Study(saved.answers, saved.means, null, kept), look: saved.look };
  } catch (error) {
    throw new Error(`${name}: the analysis is damaged (${error instanceof Error ? error.message : String(error)})`);
  }
}

async function unpacked(file: Blob): Promise<Uint8Array<ArrayBuffer>> {
  const stream = file.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
