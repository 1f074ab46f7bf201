"""Write a trained checkpoint as GGUF: F16 matrices, F32 norms, tokenizer and chat template in the metadata.

    python models/export.py pocket-s [--out FILE]
"""

import argparse
import json
import os
from pathlib import Path

import gguf
import numpy as np
import torch
from config import CHECKPOINTS, CONTEXT, FAMILY, HERE, TOKENIZER, VOCABULARY, Config
from model import NORM_EPS, ROPE_BASE, Llama

CHAT_TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
                 "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def size_label(n_parameters: int) -> str:
    return f"{n_parameters / 1e6:.1f}M"


def write_metadata(w: gguf.GGUFWriter, c: Config) -> None:
    w.add_name(c.name)
    w.add_basename("pocket")
    w.add_author("benchkit")
    w.add_license("MIT")
    w.add_size_label(size_label(c.n_parameters))
    w.add_description("A small model trained on generated text, for learning how to benchmark. Not for real work.")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(c.d_model)
    w.add_block_count(c.n_layer)
    w.add_feed_forward_length(c.d_ff)
    w.add_head_count(c.n_head)
    w.add_head_count_kv(c.n_kv_head)
    w.add_rope_dimension_count(c.head_dim)
    w.add_rope_freq_base(ROPE_BASE)
    w.add_layer_norm_rms_eps(NORM_EPS)
    w.add_vocab_size(VOCABULARY)


def write_tokenizer(w: gguf.GGUFWriter) -> None:
    model = json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    w.add_tokenizer_model("gpt2")  # llama.cpp's name for byte-level BPE
    w.add_tokenizer_pre("smollm")  # splits digits singly
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if i < 3 else gguf.TokenType.NORMAL for i in range(len(tokens))])
    w.add_token_merges(merges)
    w.add_bos_token_id(0)
    w.add_eos_token_id(2)
    w.add_pad_token_id(0)
    w.add_add_bos_token(False)
    w.add_chat_template(CHAT_TEMPLATE)


def write_tensors(w: gguf.GGUFWriter, weights: dict[str, torch.Tensor]) -> None:
    """The names are llama.cpp's own already; without an `output.weight` it uses the embedding."""
    for name, tensor in weights.items():
        array = tensor.float().cpu().numpy()
        w.add_tensor(name, array if array.ndim == 1 else array.astype(np.float16))


def export(c: Config, out: Path, checkpoint: Path | None) -> None:
    weights = torch.load(checkpoint, map_location="cpu")["model"] if checkpoint else Llama(c).state_dict()
    partial = out.with_suffix(".partial")
    w = gguf.GGUFWriter(str(partial), "llama")
    write_metadata(w, c)
    write_tokenizer(w)
    write_tensors(w, weights)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.replace(partial, out)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=list(FAMILY))
    parser.add_argument("--out", type=Path, help="where to (default: beside this file)")
    parser.add_argument("--random", action="store_true", help="untrained weights, to develop with")
    a = parser.parse_args()
    export(FAMILY[a.model], a.out or HERE / f"{a.model}.gguf", None if a.random else CHECKPOINTS / f"{a.model}.pt")
