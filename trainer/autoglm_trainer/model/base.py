"""The base model of tasks on language: found, checked and loaded."""

from __future__ import annotations

import inspect
import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from typing_extensions import override

from autoglm_api.study import ModelSource
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import SpecError
from autoglm_trainer.tokens.examples import Batch, Examples, collate

from .network import half_type
from .pretrained import Pretrained
from .source import find_model
from .weights import load_weights, placed, short
from .writer import Writer, load_whole, make_writer


@dataclass(kw_only=True)
class BaseModel(Pretrained):
    """A language model's backbone and tokenizer.

    Attributes:
        tokenizer: without truncation or padding; the very object whose JSON the server gets.
        max_tokens: the longest input the model takes, in tokens.
        writer: the whole model that `backbone` is a part of, where a task needs it to write texts.
    """

    tokenizer: Tokenizer
    pad_id: int
    pad_token: str
    max_tokens: int
    writer: Writer | None = None

    @property
    @override
    def whole(self) -> nn.Module:
        whole: nn.Module = self.backbone if self.writer is None else self.writer.model
        return whole

    @property
    def layers(self) -> int:
        """Of the backbone, without its embeddings."""
        config: Any = self.backbone.config  # a transformers config has no useful type
        return int(config.get_text_config().num_hidden_layers)

    @override
    def collate(self, examples: Examples) -> Batch:
        return collate(examples, pad_id=self.pad_id, device=self.device)

    @override
    def trainable(self, names: Container[str] | None = None) -> list[nn.Parameter]:
        """As of any backbone; with all of them a writer's output layer, which is often the table of embeddings."""
        chosen = super().trainable(names)
        if names is None and self.writer is not None:
            chosen.extend(self.writer.output.parameters())
        return [*dict.fromkeys(chosen)]

    def tokenizer_for(self, max_length: int) -> Tokenizer:
        """A copy of the tokenizer that truncates to `max_length` tokens, or to what the model can take."""
        tokenizer: Tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.enable_truncation(min(max_length, self.max_tokens))
        return tokenizer


def load_model(model: ModelSource | None, places: Places, *, writes: bool = False, trained: bool = True) -> BaseModel:
    """Find, check and load the base model.

    Args:
        model: the study's `model`.
        places: where it is.
        writes: whether the task needs its output layer too: only a causal language model has one that writes.
        trained: whether a writer is trained, and not only asked.

    Raises:
        SpecError: it cannot be used; the sentence says why and what to do.
        SourceUnreachable: its place does not answer now.
    """
    assert model is not None, "the door refuses a study without the base model that its task tunes"
    folder = find_model(model, places)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = load_config(model.place, folder)
    whole = load_whole(model.place, folder, config, device, trained=trained) if writes else None
    backbone = _load_backbone(model.place, folder, config, device) if whole is None else whole.base_model
    loaded = _load_tokenizer(model.place, folder)
    tokenizer, pad_id, pad_token, tokenizer_limit = _plain_tokenizer(model.place, loaded)
    text_config = backbone.config.get_text_config()
    positions = getattr(text_config, "max_position_embeddings", None) or tokenizer_limit
    if len(tokenizer.get_vocab()) > text_config.vocab_size:
        raise SpecError(
            f"model.source {model.place}: the tokenizer knows {len(tokenizer.get_vocab())} tokens, the model"
            f" {text_config.vocab_size}; they do not belong together"
        )
    return BaseModel(
        backbone=backbone,
        tokenizer=tokenizer,
        pad_id=pad_id,
        pad_token=pad_token,
        hidden_size=text_config.hidden_size,
        max_tokens=min(positions, tokenizer_limit),
        device=device,
        is_float32=next(backbone.parameters()).dtype == torch.float32,
        writer=None if whole is None else make_writer(model.place, whole, loaded, tokenizer, pad_id),
        half=half_type(device),
    )


# A transformers model has no useful type.
def _load_backbone(source: str, folder: Path, config: Any, device: torch.device) -> Any:
    # Seconds of import, which tests of data and callers of the errors need not pay.
    from transformers import AutoModel

    backbone, _ = load_weights(AutoModel, source, folder, config, device)
    accepted = inspect.signature(backbone.forward).parameters
    if not {"input_ids", "attention_mask"} <= accepted.keys() or config.is_encoder_decoder:
        raise SpecError(
            f"model.source {source}: {type(backbone).__name__} is no encoder or decoder of text alone;"
            " use a BERT-like or GLM-like model"
        )
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # pooling is ours; its weights would only be carried along
    return placed(backbone, device)


def load_config(source: str, folder: Path) -> Any:
    """The folder's config, of an architecture that transformers knows.

    Raises:
        SpecError: it cannot be read, or is of none.
    """
    import transformers
    from transformers import AutoConfig

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SpecError(f"model.source {source}: config.json cannot be read ({short(error)})") from error
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError, AttributeError, TypeError) as error:
        remedy = (
            "it brings code of its own, which is never run; use a version that transformers knows itself"
            if "auto_map" in written
            else "check model_type in config.json"
        )
        raise SpecError(f"model.source {source}: unknown architecture ({short(error)}); {remedy}") from error


def _load_tokenizer(source: str, folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        loaded.backend_tokenizer.to_str()
    except (ValueError, OSError, KeyError, AttributeError, TypeError, ImportError) as error:
        raise SpecError(
            f"model.source {source}: no usable tokenizer ({short(error)}); add the model's tokenizer.json"
        ) from error
    return loaded


def _plain_tokenizer(source: str, loaded: Any) -> tuple[Tokenizer, int, str, int]:
    """The tokenizer without truncation and padding, its padding token, and the longest input it was made for."""
    tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pad_token = str(loaded.pad_token or loaded.eos_token or tokenizer.id_to_token(0))
    pad_id = tokenizer.token_to_id(pad_token)
    if pad_id is None:
        raise SpecError(f"model.source {source}: the tokenizer's padding token {pad_token!r} is not in its vocabulary")
    return tokenizer, pad_id, pad_token, int(min(loaded.model_max_length, 2**31 - 1))
