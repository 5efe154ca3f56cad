"""PyTorch, eager with scaled_dot_product_attention: `python run_torch.py FOLDER CASE [--device cpu|cuda] [--precision f32|tf32|bf16]`."""

import json

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import case

options = case.arguments(
    device={"choices": ["cpu", "cuda"], "default": "cpu"},
    precision={"choices": ["f32", "tf32", "bf16"], "default": "f32"},
)
this = case.Case(options.folder, options.case)
device = options.device
if device == "cuda" and not torch.cuda.is_available():
    raise SystemExit("there is no CUDA device")
torch.set_num_threads(options.threads)
torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32


class Encoder:
    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.heads, self.eps, self.n_layers = config["num_heads"], config["norm_eps"], config["num_layers"]
        self.w = {name: tensor.to(device, dtype) for name, tensor in load_file(folder / "model.safetensors").items() if "head" not in name}
        for i in range(self.n_layers):
            parts = [self.w.pop(f"layers.{i}.attn.{part}_proj.weight") for part in "qkv"]
            self.w[f"layers.{i}.qkv"] = torch.cat(parts)
        head_size = config["hidden_size"] // self.heads
        steps = torch.arange(0, head_size, 2, dtype=torch.float64) / head_size
        angles = torch.outer(torch.arange(config["max_genes"] + 1, dtype=torch.float64), config["rope_theta"] ** -steps)
        angles = torch.cat([angles, angles], dim=-1)
        self.cos, self.sin = angles.cos().to(device, dtype), angles.sin().to(device, dtype)

    def rotate(self, x):
        n = x.shape[2]
        left, right = x.chunk(2, dim=-1)
        return x * self.cos[:n] + torch.cat([-right, left], dim=-1) * self.sin[:n]

    def __call__(self, ids, values, attended):
        w, cells = self.w, ids.shape[0]
        value = F.relu(F.linear(values[..., None], w["value_encoder.0.weight"], w["value_encoder.0.bias"]))
        value = F.linear(value, w["value_encoder.2.weight"], w["value_encoder.2.bias"])
        clean = F.embedding(ids, w["gene_embedding.weight"]) + value
        mask = None
        if attended is None:
            lat = clean.mean(dim=1)
        else:
            lat = (clean * attended[..., None]).sum(dim=1) / attended.sum(dim=1, keepdim=True)
            mask = F.pad(attended, (1, 0), value=1.0).bool()[:, None, None]
        lat = F.linear(lat, w["latent_encoder.mlp.0.weight"], w["latent_encoder.mlp.0.bias"])
        lat = F.layer_norm(lat, lat.shape[-1:], w["latent_encoder.mlp.1.weight"], w["latent_encoder.mlp.1.bias"], self.eps)
        lat = F.linear(F.relu(lat), w["latent_encoder.mlp.3.weight"], w["latent_encoder.mlp.3.bias"])
        h = torch.cat([lat[:, None], F.linear(clean, w["input_proj.weight"])], dim=1)
        tokens, width = h.shape[1:]
        for i in range(self.n_layers):
            name = f"layers.{i}."
            y = F.rms_norm(h, (width,), w[name + "norm1.weight"], self.eps)
            qkv = F.linear(y, w[name + "qkv"]).view(cells, tokens, 3, self.heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            context = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, mask)
            h = h + F.linear(context.transpose(1, 2).reshape(cells, tokens, width), w[name + "attn.o_proj.weight"])
            y = F.rms_norm(h, (width,), w[name + "norm2.weight"], self.eps)
            inner = F.silu(F.linear(y, w[name + "mlp.gate_proj.weight"])) * F.linear(y, w[name + "mlp.up_proj.weight"])
            h = h + F.linear(inner, w[name + "mlp.down_proj.weight"])
        return F.rms_norm(h[:, 0], (width,), w["final_norm.weight"], self.eps)


def load():
    encoder = Encoder(options.folder)
    ids = torch.from_numpy(this.gene_ids).to(device)
    values = torch.from_numpy(this.values).to(device, dtype)
    attended = torch.from_numpy(this.attended).to(device, dtype) if this.masked else None

    # The copy to the host waits for the device.
    def run():
        with torch.inference_mode():
            return encoder(ids, values, attended).float().cpu().numpy()

    return run


case.report(
    this,
    options.seconds,
    load,
    peer=f"torch, {options.precision}",
    version=torch.__version__,
    device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
    threads=options.threads,
)
