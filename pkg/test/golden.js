// The random checkpoints of tests/goldens: weights and inputs from a counter hash, as tests/goldens/make.py and tests/reference/random.rs
// make them, and the answers of the numpy program.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../tests/goldens/", import.meta.url));
const u64 = (x) => BigInt.asUintN(64, x);

function mix(z) {
  z = u64((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = u64((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** n numbers in [0, 1). */
function uniform(seed, name, n) {
  let key = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(name)) key = u64((key ^ BigInt(byte)) * 0x100000001b3n);
  let state = key ^ mix(BigInt(seed));
  return Float64Array.from({ length: n }, () => {
    state = u64(state + 0x9e3779b97f4a7c15n);
    return Number(mix(state) >> 40n) / 2 ** 24;
  });
}

function tensor(seed, name, shape) {
  let [centre, scale] = [0, 1];
  if (name.includes("norm") || name === "latent_encoder.mlp.1.weight") [centre, scale] = [1, 0.25];
  else if (name.endsWith(".bias")) scale = 0.25;
  else if (name !== "gene_embedding.weight" && !name.endsWith("_mask_emb")) {
    const gain = name === "value_encoder.0.weight" ? 0.25 : /[qk]_proj\.weight$/.test(name) ? 2 : 1;
    scale = gain * Math.sqrt(3 / shape.at(-1));
  }
  const numbers = uniform(seed, name, shape.reduce((a, b) => a * b));
  const x = Float32Array.from(numbers, (u) => centre + scale * (2 * u - 1));
  if (name === "gene_embedding.weight") x.fill(0, 0, shape[1]);
  return x;
}

function shapes({ hidden_size: d, intermediate_size: f, vocab_size: v, num_layers: n }) {
  const layer = {
    "norm1.weight": [d],
    "attn.q_proj.weight": [d, d],
    "attn.k_proj.weight": [d, d],
    "attn.v_proj.weight": [d, d],
    "attn.o_proj.weight": [d, d],
    "norm2.weight": [d],
    "mlp.gate_proj.weight": [f, d],
    "mlp.up_proj.weight": [f, d],
    "mlp.down_proj.weight": [d, f],
  };
  const layers = Array.from({ length: n }, (_, i) => Object.entries(layer).map(([name, shape]) => [`layers.${i}.${name}`, shape]));
  return Object.fromEntries([
    ["gene_embedding.weight", [v, d]],
    ["value_encoder.0.weight", [d, 1]],
    ["value_encoder.0.bias", [d]],
    ["value_encoder.2.weight", [d, d]],
    ["value_encoder.2.bias", [d]],
    ["latent_encoder.mlp.0.weight", [d, d]],
    ["latent_encoder.mlp.0.bias", [d]],
    ["latent_encoder.mlp.1.weight", [d]],
    ["latent_encoder.mlp.1.bias", [d]],
    ["latent_encoder.mlp.3.weight", [d, d]],
    ["latent_encoder.mlp.3.bias", [d]],
    ["gene_mask_emb", [d]],
    ["value_mask_emb", [d]],
    ["input_proj.weight", [d, d]],
    ...layers.flat(),
    ["final_norm.weight", [d]],
    ["gene_head.weight", [v, d]],
    ["value_head.0.weight", [d, d]],
    ["value_head.0.bias", [d]],
    ["value_head.2.weight", [1, d]],
    ["value_head.2.bias", [1]],
  ]);
}

function safetensors(tensors) {
  const header = {};
  let at = 0;
  for (const [name, [shape, x]] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [at, (at += x.byteLength)] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, ...Object.values(tensors).map(([, x]) => Buffer.from(x.buffer))]);
}

/** One case: the model's files, the cell, the answer at its sampled tokens. */
export function golden(name) {
  const file = readFileSync(`${folder}${name}.safetensors`);
  const start = 8 + Number(file.readBigUInt64LE());
  const { __metadata__: facts, ...header } = JSON.parse(file.subarray(8, start).toString());
  const read = (name, type) => {
    const [from, to] = header[name].data_offsets;
    return new type(file.buffer.slice(file.byteOffset + start + from, file.byteOffset + start + to));
  };
  const sizes = Object.fromEntries(Object.entries(facts).map(([key, text]) => [key, Number(text)]));
  const { seed, n_genes: n, vocab_size: v, hidden_size: d } = sizes;
  const weights = Object.entries(shapes(sizes)).map(([name, shape]) => [name, [shape, tensor(seed, name, shape)]]);
  const draw = (name) => uniform(seed, name, n);
  const [ids, padding, fill, masked] = ["gene_ids", "padding", "fill", "masked"].map(draw);
  const id = (i) => (padding[i] < sizes.pad_share ? (fill[i] < 0.5 ? 0 : v - 3) : 2 + Math.floor(ids[i] * (v - 5)));
  const sampled = Array.from(read("sampled", BigInt64Array), Number);
  const [latent, hidden, geneLogits, values] = ["latent", "hidden", "gene_logits", "values"].map((name) => read(name, Float64Array));
  const rms = read("rms", Float64Array);
  return {
    files: {
      "config.json": Buffer.from(JSON.stringify({ name, ...sizes, max_genes: n })),
      "model.safetensors": safetensors(Object.fromEntries(weights)),
    },
    cell: {
      geneIds: Uint32Array.from({ length: n }, (_, i) => id(i)),
      values: Float32Array.from(draw("values"), (u) => 6 * u),
      masked: Uint8Array.from(masked, (u) => Number(u < sizes.mask_share)),
    },
    /** The largest error of each part, relative to the part's root mean square. */
    errors(answer) {
      const worst = (got, wanted, nCols, rms) => {
        const rows = wanted.length / nCols;
        let most = 0;
        for (let row = 0; row < rows; row++) {
          for (let col = 0; col < nCols; col++) {
            const place = rows === 1 && got.length === nCols ? col : sampled[row] * nCols + col;
            const error = Math.abs(got[place] - wanted[row * nCols + col]) / rms;
            // A NaN is the worst of all.
            most = error <= most ? most : error;
          }
        }
        return most;
      };
      return {
        latent: worst(answer.latent, latent, d, rms[0]),
        hidden: worst(answer.hidden, hidden, d, rms[1]),
        geneLogits: worst(answer.geneLogits, geneLogits, v, rms[2]),
        values: worst(answer.values, values, 1, rms[3]),
      };
    },
  };
}
