"""The Llama architecture in a page: RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied embeddings."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from config import CONTEXT, VOCABULARY, Config

ROPE_BASE = 10_000.0
NORM_EPS = 1e-5


def rotations(head_dim: int, n_positions: int = CONTEXT) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of every position's angle for every pair of a head: two (n_positions, head_dim / 2) tables."""
    frequency = ROPE_BASE ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.outer(torch.arange(n_positions).float(), frequency)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (0, 1), (2, 3), … as llama.cpp does for this architecture, so export permutes nothing."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        kv = c.n_kv_head * c.head_dim
        self.attn_norm, self.ffn_norm = (nn.RMSNorm(c.d_model, eps=NORM_EPS) for _ in range(2))
        self.attn_q, self.attn_output = (nn.Linear(c.d_model, c.d_model, bias=False) for _ in range(2))
        self.attn_k, self.attn_v = (nn.Linear(c.d_model, kv, bias=False) for _ in range(2))
        self.ffn_gate, self.ffn_up = (nn.Linear(c.d_model, c.d_ff, bias=False) for _ in range(2))
        self.ffn_down = nn.Linear(c.d_ff, c.d_model, bias=False)

    def attention(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape

        def heads(y: torch.Tensor, n: int) -> torch.Tensor:
            return y.view(batch, length, n, self.c.head_dim).transpose(1, 2)
        q = rotate(heads(self.attn_q(x), self.c.n_head), cos, sin)
        k = rotate(heads(self.attn_k(x), self.c.n_kv_head), cos, sin)
        v = heads(self.attn_v(x), self.c.n_kv_head)
        k, v = (t.repeat_interleave(self.c.n_head // self.c.n_kv_head, dim=1) for t in (k, v))
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        return self.attn_output(y.transpose(1, 2).reshape(batch, length, width))

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attn_norm(x), cos, sin)
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Llama(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.token_embd = nn.Embedding(VOCABULARY, c.d_model)  # also the output layer
        self.blk = nn.ModuleList(Block(c) for _ in range(c.n_layer))
        self.output_norm = nn.RMSNorm(c.d_model, eps=NORM_EPS)
        cos, sin = rotations(c.head_dim)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.token_embd.weight, std=0.02)
        for block in self.blk:
            for p in block.parameters():
                if p.dim() == 2:
                    nn.init.normal_(p, std=p.shape[1] ** -0.5 * 0.5)
            nn.init.zeros_(block.attn_output.weight)  # a block starts as the identity
            nn.init.zeros_(block.ffn_down.weight)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (batch, length, vocabulary) of the next token at every position."""
        cos, sin = self.cos[:tokens.shape[1]], self.sin[:tokens.shape[1]]
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, cos, sin)
        return F.linear(self.output_norm(x), self.token_embd.weight)
