"""Make a small GLM from a configuration, with a tokenizer from your own rows: weights at random, nothing downloaded.

Usage: python examples/make_tiny_glm.py ROWS.jsonl FOLDER [--column text] [--words] [--writes]

What comes out is an ordinary model folder (`save_pretrained`), so everything that a big GLM meets on its way through
search, export and serving, the small one meets too. It learns from the study's rows alone: do not expect much.
"""

# ruff: noqa: INP001  a script, not a package
from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GlmConfig, GlmForCausalLM, GlmModel, PreTrainedTokenizerFast

PAD, END, UNKNOWN = "<|pad|>", "<|endoftext|>", "<|unk|>"
VOCABULARY = 2_000
HIDDEN = 128
LAYERS = 2
POSITIONS = 512


def make_tokenizer(texts: list[str], *, words: bool) -> PreTrainedTokenizerFast:
    """A token a character, or a word with the space before it, where few words are seen often enough to be learned."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|." if words else "."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.WordLevelTrainer(vocab_size=VOCABULARY, special_tokens=[PAD, END, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=POSITIONS,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int, *, writes: bool) -> GlmModel | GlmForCausalLM:
    """Two layers of the GLM architecture, about half a million parameters; with an output layer where it `writes`."""
    torch.manual_seed(seed)
    return (GlmForCausalLM if writes else GlmModel)(
        GlmConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=HIDDEN // 4,
            max_position_embeddings=POSITIONS,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def main() -> None:
    """Read rows, write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path, help="JSON Lines with the texts")
    parser.add_argument("folder", type=Path, help="where the model goes")
    parser.add_argument("--column", action="append", help="column with texts, once or more (default: text)")
    parser.add_argument("--words", action="store_true", help="a token a word, not a character")
    parser.add_argument("--writes", action="store_true", help="with the output layer that text-generation needs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not arguments.rows.is_file():
        parser.error(f"{arguments.rows}: there is no such file")
    rows = [json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines() if line.strip()]
    columns = arguments.column or ["text"]
    for column in columns:
        if not rows or column not in rows[0]:
            parser.error(f"{arguments.rows} has no column {column!r}; known: {', '.join(rows[0]) if rows else '-'}")
    tokenizer = make_tokenizer([str(row[column]) for row in rows for column in columns], words=arguments.words)
    model = make_model(tokenizer, arguments.seed, writes=arguments.writes)
    model.save_pretrained(arguments.folder)
    tokenizer.save_pretrained(arguments.folder)
    parameters = sum(weights.numel() for weights in model.parameters())
    print(f"{arguments.folder}: GLM, {parameters:,} parameters, {len(tokenizer)} tokens")  # noqa: T201


if __name__ == "__main__":
    main()
