"""Tiny models, rows and runs for the task's tests."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import torch
from tests.trainer.task.drawing import write_backbone
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    Glm4Config,
    Glm4Model,
    GlmConfig,
    GlmForCausalLM,
    GlmModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from autoglm_api.locations import locate
from autoglm_api.run import Run, freeze
from autoglm_api.study import StudySpec
from autoglm_trainer.contract import Places

ARCHITECTURES = ("bert", "glm", "glm4")
# How the taught model wants to be asked; the words are of its vocabulary.
FOLLOWED = "the {prompt} is colour"
SPECIALS = ("[PAD]", "[UNK]", "[gMASK]", "<sop>", "<|endoftext|>")
LATIN = "red green blue is the a sky grass fire very so not really and colour of deep pale"
WORDS = (*LATIN.split(), *"退款取消我要订单红绿蓝色天空")
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def write_tokenizer(folder: Path, *, prefix: str = "[gMASK] <sop>") -> None:
    """A word-level tokenizer in which each Chinese character is a word, with GLM's prefix."""
    vocabulary = {word: index for index, word in enumerate((*SPECIALS, *dict.fromkeys(WORDS)))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True, handle_chinese_chars=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    if prefix:
        ids = [(word, vocabulary[word]) for word in prefix.split()]
        tokenizer.post_processor = TemplateProcessing(single=f"{prefix} $A", special_tokens=ids)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="<|endoftext|>", model_max_length=64
    ).save_pretrained(folder)


def tiny_model(architecture: str) -> PreTrainedModel:
    """Random weights, always the same."""
    torch.manual_seed(0)
    words = len(SPECIALS) + len(dict.fromkeys(WORDS))
    decoder = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "eos_token_id": 4, "vocab_size": words}
    match architecture:
        case "bert":
            return BertModel(BertConfig(**TINY, vocab_size=words))
        case "glm":
            return GlmModel(GlmConfig(**TINY, **decoder))
        case "glm-causal":
            return GlmForCausalLM(GlmConfig(**TINY, **decoder))
        case "glm-taught":
            return taught_glm()
        case "glm4":
            return Glm4Model(Glm4Config(**TINY, **decoder))
    raise ValueError(architecture)


@cache
def taught_glm() -> PreTrainedModel:
    """A tiny GLM that names a text's colour if it is asked as in `FOLLOWED`, and any colour if asked otherwise."""
    model = tiny_model("glm-causal")
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder))
        tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
    chance = random.Random(0)
    asked = [(FOLLOWED.replace("{prompt}", row["text"]), row["label"]) for row in colour_rows(120)]
    others = [frame.format(row["text"]) for row in colour_rows(120) for frame in ("sort {} category", "category {} =>")]
    sequences = [*asked, *asked, *((other, chance.choice(("red", "green", "blue"))) for other in others)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(12):
        chance.shuffle(sequences)
        for start in range(0, len(sequences), 30):
            some = [
                [*tokenizer.encode(prompt).ids, 0, tokenizer.token_to_id(answer), 4]
                for prompt, answer in sequences[start : start + 30]
            ]
            longest = max(map(len, some))
            ids = torch.tensor([[0] * (longest - len(each)) + each for each in some])
            mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in some])
            logits = model(input_ids=ids, attention_mask=mask).logits[:, -3:-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, -2:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def write_model(folder: Path, architecture: str) -> Path:
    """A model folder as `save_pretrained` writes it."""
    if architecture in ("resnet", "vit"):
        return write_backbone(folder, architecture)
    tiny_model(architecture).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def colour_rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Texts about colours, some of them Chinese; the label is the colour that they name."""
    colours = {"red": "红", "green": "绿", "blue": "蓝"}
    frames = (
        "the {} sky",
        "so very {} and deep",
        "is the grass {}",
        "a really pale {} fire",
        "{} {} colour of the sky",
    )
    rows = []
    for index in range(start, start + count):
        name = tuple(colours)[index % 3]
        text = f"天空 {colours[name]} 色" if index % 7 == 0 else frames[index % 5].format(name, "not so")
        rows.append({"text": " ".join([text, *["very"] * (index % 4), "so" * (index % 2)]).strip(), "label": name})
    return rows


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON lines; the answer is their URI."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return f"file://{path}"


def make_run(
    model: str | Mapping[str, Any] | None, train: str, *, artifacts: str = "file:///nowhere", **changes: Any
) -> Run:
    """A frozen run; `changes` go into the spec, and `data` into its data. Without a model the task needs none.

    Rows are not cleaned: those that tests make are few words in many orders, and repeat each other.
    """
    data = {"train": {"source": train}, "cleaning": "Off", **changes.pop("data", {})}
    spec = {
        "task": "text-classification",
        **({"model": {"source": model} if isinstance(model, str) else model} if model else {}),
        "data": data,
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "sampler": {"seed": 3},
        **changes,
    }
    return freeze(
        StudySpec.model_validate(spec), namespace="lab", name="colours", uid="0-1", artifacts_uri=artifacts, image=None
    )


def make_places(scratch: Path, **credentials: str) -> Places:
    """Places with one set of credentials for data and model."""

    def place(uri: str) -> Any:
        return locate(uri, claims_root=scratch / "claims", credentials=credentials)

    return Places(data=place, model=place, model_credentials=credentials, scratch=scratch)


class Control:
    """A worker's side that remembers; it stops the training where it is told to."""

    def __init__(
        self,
        seed: int = 5,
        *,
        resume_from: Path | None = None,
        prune_at: int | None = None,
        save_to: Path | None = None,
        stop_after_beats: int | None = None,
    ) -> None:
        self.seed, self.resume_from = seed, resume_from
        self.prune_at, self.save_to, self.stop_after_beats = prune_at, save_to, stop_after_beats
        self.reports: list[tuple[int, float]] = []
        self.beats = 0
        self.saved_step: int | None = None

    def report(self, step: int, value: float) -> None:
        self.reports.append((step, value))
        if step == self.prune_at:
            raise optuna.TrialPruned

    def heartbeat(self) -> None:
        self.beats += 1

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        if self.save_to is not None and self.beats == self.stop_after_beats:
            self.save_to.mkdir()
            write(self.save_to)
            self.saved_step = step
            raise InterruptedError("stopped by the test")
