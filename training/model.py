"""The scDiVa network. Tensor names and arithmetic are those of the released checkpoint; the model page is the law here."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ModelConfig

PAD, MASK, FIRST_GENE = 0, 1, 2
N_CLOSING = 3  # pad-fill, bos and eos: the last three ids


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Bidirectional multi-head attention with rotary positions; position 0 is [LAT]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.n_heads = config.num_heads
        self.q_proj = nn.Linear(size, size, bias=False)
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size, bias=False)
        self.o_proj = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], attended: Tensor) -> Tensor:
        n_cells, n_tokens, size = x.shape
        split = (n_cells, n_tokens, self.n_heads, size // self.n_heads)
        q, k, v = (proj(x).view(split).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj))
        # scaled_dot_product_attention scales by 1/sqrt(head size).
        y = F.scaled_dot_product_attention(rotate(q, rotation), rotate(k, rotation), v, attn_mask=attended[:, None, None, :])
        return self.o_proj(y.transpose(1, 2).reshape(n_cells, n_tokens, size))


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """A pre-norm block: attention, then the gated MLP, each with a residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.hidden_size, config.norm_eps)
        self.attn = Attention(config)
        self.norm2 = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], attended: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), rotation, attended)
        return x + self.mlp(self.norm2(x))


class LatentEncoder(nn.Module):
    """The [LAT] token: an MLP of the mean of a cell's clean tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.mlp = nn.Sequential(nn.Linear(size, size), nn.LayerNorm(size, eps=config.norm_eps), nn.ReLU(), nn.Linear(size, size))

    def forward(self, clean: Tensor, attended: Tensor) -> Tensor:
        weight = attended.unsqueeze(-1).to(clean.dtype)
        return self.mlp((clean * weight).sum(1) / weight.sum(1).clamp(min=1.0))


class ScDiVa(nn.Module):
    """The whole network. Shapes: B cells, L genes a cell, D hidden, V ids."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        size = config.hidden_size
        self.config = config
        self.gene_embedding = nn.Embedding(vocab_size, size, padding_idx=PAD)
        self.value_encoder = nn.Sequential(nn.Linear(1, size), nn.ReLU(), nn.Linear(size, size))
        self.gene_mask_emb = nn.Parameter(torch.randn(size) * 0.02)
        self.value_mask_emb = nn.Parameter(torch.randn(size) * 0.02)
        self.input_proj = nn.Linear(size, size, bias=False)
        self.latent_encoder = LatentEncoder(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.final_norm = RMSNorm(size, config.norm_eps)
        self.gene_head = nn.Linear(size, vocab_size, bias=False)
        self.value_head = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5 * 0.7)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Residual branches start small, so that depth does not change the scale of the stream.
        for layer in self.layers:
            for branch in (layer.attn.o_proj, layer.mlp.down_proj):
                branch.weight.data.mul_((2 * config.num_layers) ** -0.5)
        nn.init.normal_(self.gene_head.weight, std=0.02)

    def forward(
        self, ids: Tensor, values: Tensor, attended: Tensor, masked: Tensor | None = None, n_layers: int | None = None
    ) -> Tensor:
        """Final-normed hidden states [B, L + 1, D]; row 0 is the cell. `ids`, `values`, `attended`, `masked`: [B, L].

        `n_layers` runs the first so many layers only (fine-tuning begins with none).

        [LAT] is computed from the clean tokens, also when positions are masked: it has seen what is to be predicted,
        as in the paper. What the reconstruction loss measures is therefore decoding from the cell's embedding and the
        visible genes, not prediction from the visible genes alone.
        """
        gene = self.gene_embedding(ids)
        value = self.value_encoder(values.unsqueeze(-1))
        latent = self.latent_encoder(gene + value, attended)
        if masked is not None:
            gene = torch.where(masked.unsqueeze(-1), self.gene_mask_emb, gene)
            value = torch.where(masked.unsqueeze(-1), self.value_mask_emb, value)
        x = torch.cat([latent.unsqueeze(1), self.input_proj(gene + value)], dim=1)
        attended = F.pad(attended, (1, 0), value=True)
        rotation = rotation_angles(x.shape[1], self.config, x.device)
        for layer in self.layers[:n_layers]:
            x = layer(x, rotation, attended)
        return self.final_norm(x)

    def predict_values(self, hidden: Tensor) -> Tensor:
        """Predicted log1p values of hidden states [..., D] -> [...]."""
        return self.value_head(hidden).squeeze(-1)


class Head(nn.Module):
    """Cell-type head: Linear, exact GELU, Linear. The names `0.*` and `2.*` are those of the exported file."""

    def __init__(self, config: ModelConfig, pooling: str, hidden_size: int, n_labels: int) -> None:
        super().__init__()
        self.pooling = pooling
        in_size = config.hidden_size * (2 if pooling == "latent+mean" else 1)
        self.mlp = nn.Sequential(nn.Linear(in_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, n_labels))

    def forward(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """Logits [B, n_labels] from `ScDiVa.forward`'s hidden states [B, L + 1, D]."""
        return self.mlp(pool(hidden, attended, self.pooling))


def pool(hidden: Tensor, attended: Tensor, pooling: str) -> Tensor:
    """A vector a cell: the [LAT] row, the mean of the attended gene rows, or both after another."""
    latent = hidden[:, 0]
    if pooling == "latent":
        return latent
    weight = attended.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden[:, 1:] * weight).sum(1) / weight.sum(1).clamp(min=1.0)
    if pooling == "mean":
        return mean
    if pooling == "latent+mean":
        return torch.cat([latent, mean], dim=-1)
    raise ValueError(f"pooling is {pooling!r}; known are latent, mean, latent+mean")


def rotation_angles(n_tokens: int, config: ModelConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin, each [n_tokens, d], d the head size: position times theta^(-2i/d), the same for i and i + d/2."""
    head_size = config.hidden_size // config.num_heads
    exponent = torch.arange(0, head_size, 2, device=device, dtype=torch.float32) / head_size
    angle = torch.arange(n_tokens, device=device, dtype=torch.float32)[:, None] * config.rope_theta**-exponent
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding in the rotate-half form: the pairs are i and i + d/2."""
    cos, sin = rotation
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


def model_state(model: ScDiVa) -> dict[str, Tensor]:
    """The tensors of the exported checkpoint, row 0 of the gene embedding exactly zero."""
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    state["gene_embedding.weight"][PAD] = 0.0
    return state
