"""Tiny tagged sentences and models for the tests of token classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tests.trainer.task.making import TINY, make_places, make_run, write_rows
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import GlmConfig, GlmModel, PreTrainedTokenizerFast

from autoglm_trainer.tasks import get_task
from autoglm_trainer.tuning.task import LoadedTuned

LABELS = ("O", "B-colour", "I-colour", "B-thing", "I-thing")
_TAGS = {
    **dict.fromkeys(("red", "green", "blue", "红", "绿", "蓝"), "B-colour"),
    **dict.fromkeys(("sky", "grass", "fire", "天"), "B-thing"),
    "空": "I-thing",
}
_FRAMES = ("the {} sky", "so very {} and deep", "is the grass {}", "a really {} fire", "{} 天 空 色", "not so")


def tagged_rows(count: int, *, start: int = 0) -> list[dict[str, Sequence[str]]]:
    """Sentences about colours, some of two words, and things; a few with nothing."""
    rows = []
    for index in range(start, start + count):
        colour = ("red", "pale green", "blue", "deep red", "红")[index % 5]
        words = [*_FRAMES[index % 6].format(colour).split(), *["very"] * (index % 4)]
        tags = [_TAGS.get(word, "O") for word in words]
        for place, word in enumerate(words[:-1]):
            if word in ("pale", "deep") and tags[place + 1] == "B-colour":
                tags[place : place + 2] = ["B-colour", "I-colour"]
        rows.append({"tokens": words, "tags": tags})
    return rows


def tagging(model: Path, folder: Path, **data: Any) -> Callable[[], LoadedTuned]:
    """The task freshly loaded with tagged rows, as a new process would have it, again at every call."""
    train = write_rows(folder / "tagged.jsonl", tagged_rows(60))
    test = write_rows(folder / "tagged-test.jsonl", tagged_rows(30, start=100))
    run = make_run(
        f"file://{model}",
        train,
        task="token-classification",
        data={"test": {"source": test}, **data},
        objectives=[{"metric": "f1", "direction": "Maximize"}],
    )

    def load() -> LoadedTuned:
        task = get_task(run.task).load(run, make_places(folder))
        assert isinstance(task, LoadedTuned)
        return task

    return load


def write_byte_level_glm(folder: Path) -> Path:
    """A tiny GLM whose tokenizer, like the real one, works on bytes and keeps the space before a word."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [" ".join(row["tokens"]) for row in tagged_rows(60)]
    specials = ["[PAD]", "[gMASK]", "<sop>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=specials, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="[gMASK] <sop> $A", special_tokens=[("[gMASK]", 1), ("<sop>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="<|endoftext|>", model_max_length=64
    ).save_pretrained(folder)
    decoder = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "eos_token_id": 3}
    torch.manual_seed(0)
    GlmModel(GlmConfig(**TINY, **decoder, vocab_size=tokenizer.get_vocab_size())).save_pretrained(folder)
    return folder
