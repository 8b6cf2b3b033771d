"""A GLM of any size with random weights, and rows for it: what a measurement of speed and memory needs of a model."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

SPECIALS = ("[PAD]", "[UNK]", "<|endoftext|>")
WORDS = tuple(f"word{number}" for number in range(1_000))
LABELS = ("left", "right")


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; keys and values have a quarter of the heads, as in GLM-4.

    Attributes:
        vocabulary: rows of the table of embeddings; more than the tokenizer has words.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int


def write_glm(folder: Path, shape: Shape, *, device: str) -> int:
    """Write model and tokenizer in bfloat16, as `save_pretrained` does; the answer is how many parameters it has."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import GlmConfig, GlmModel, PreTrainedTokenizerFast

    config = GlmConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=max(1, shape.heads // 4),
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=4_096,
        pad_token_id=0,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    # Random numbers for a billion weights are a GPU's work of a second.
    with torch.device(device):
        model = GlmModel(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate((*SPECIALS, *WORDS))}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIALS[0],
        unk_token=SPECIALS[1],
        eos_token=SPECIALS[2],
        model_max_length=4_096,
    ).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def write_texts(path: Path, rows: int, *, words: int, seed: int) -> str:
    """Write rows of one length, a token a word, with one of two labels each; the answer is their URI."""
    draw = random.Random(seed)
    lines = (
        json.dumps({"text": " ".join(draw.choices(WORDS, k=words)), "label": LABELS[row % len(LABELS)]}) + "\n"
        for row in range(rows)
    )
    path.write_text("".join(lines), encoding="utf-8")
    return path.as_uri()
