"""The family: three sizes of one architecture. Widths are multiples of 256, so that every K-quant applies."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE / "checkpoints"  # ignored by git
TOKENIZER = HERE / "tokenizer.json"
CONTEXT = 512  # tokens a model sees at once, in training and by its metadata
VOCABULARY = 1024


@dataclass(frozen=True)
class Config:
    """One model's shape, and how long and with what steps it is trained."""

    name: str
    n_layer: int
    n_head: int
    n_kv_head: int
    d_ff: int  # width of the feed-forward layer
    tokens: int  # trained on, each seen once
    batch: int = 4  # windows of CONTEXT tokens a step, or as many tokens in short windows
    d_model: int = 256
    grown_from: str = ""  # the smaller model it begins as, if any
    skip: int = 0  # tokens of the corpus that were for the smaller model
    short: float = 0.6  # share of the tokens trained on in short windows
    matrix_lr: float = 0.0075  # Muon
    other_lr: float = 0.003  # AdamW, for embeddings and norms
    warm_up: float = 0.02  # share of the steps with a rising learning rate
    decay: float = 0.5  # share of the steps with a falling one, down to zero

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_head

    @property
    def n_parameters(self) -> int:
        attention = self.d_model * self.d_model * 2 + 2 * self.d_model * self.n_kv_head * self.head_dim
        return (VOCABULARY * self.d_model + self.d_model
                + self.n_layer * (attention + 3 * self.d_model * self.d_ff + 2 * self.d_model))


FAMILY = {
    "pocket-xs": Config("pocket-xs", n_layer=3, n_head=4, n_kv_head=2, d_ff=256, tokens=3_500_000),
    "pocket-s": Config("pocket-s", n_layer=4, n_head=4, n_kv_head=4, d_ff=768, tokens=9_500_000),
    "pocket-m": Config("pocket-m", n_layer=8, n_head=4, n_kv_head=4, d_ff=1024, tokens=10_000_000, short=0.4,
                       grown_from="pocket-s", skip=9_500_000, matrix_lr=0.005, other_lr=0.002, decay=0.7),
}
