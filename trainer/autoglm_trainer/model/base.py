"""The base model in memory: loaded once a process, given back clean to every trial without touching the disk."""

from __future__ import annotations

import inspect
import json
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.tuners_utils import BaseTuner
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor, nn

from autoglm_api.study import ModelSource
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import SpecError

from .source import find_model


@dataclass
class BaseModel:
    """Backbone and tokenizer as they were pretrained.

    Trials share the one backbone: `clean`, `adapted` and `unfrozen` hand it out and undo whatever the trial
    before did to it, so only the newest classifier built around it is valid.

    Attributes:
        tokenizer: without truncation or padding; the very object whose JSON the server gets.
        max_tokens: the longest input the model takes, in tokens.
        is_float32: whether the pretrained weights are held in 32 bits; on a CPU always.
    """

    backbone: nn.Module
    tokenizer: Tokenizer
    pad_id: int
    pad_token: str
    hidden_size: int
    max_tokens: int
    device: torch.device
    is_float32: bool
    _adapted: BaseTuner | None = field(default=None, repr=False)
    _pristine: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def tokenizer_for(self, max_length: int) -> Tokenizer:
        """A copy of the tokenizer that truncates to `max_length` tokens, or to what the model can take."""
        tokenizer: Tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.enable_truncation(min(max_length, self.max_tokens))
        return tokenizer

    def clean(self) -> nn.Module:
        """The backbone with its pretrained weights, frozen, without adapters, in evaluation mode."""
        if self._adapted is not None:
            self._adapted.unload()
            self._adapted = None
        for name, parameter in self.backbone.named_parameters():
            if name in self._pristine:
                parameter.data = self._pristine.pop(name)
        return self.backbone.requires_grad_(requires_grad=False).eval()

    def adapted(self, config: peft.LoraConfig | peft.IA3Config) -> nn.Module:
        """The clean backbone with fresh adapters; they alone are trainable."""
        tuner = peft.LoraModel if isinstance(config, peft.LoraConfig) else peft.IA3Model
        self._adapted = tuner(self.clean(), config, "default")
        return self._adapted

    def without_adapters(self) -> AbstractContextManager[object]:
        """While this lasts, adapters are switched off, as if merged."""
        return _disabled(self._adapted) if self._adapted is not None else nullcontext()

    def unfrozen(self, names: Container[str] | None = None) -> nn.Module:
        """The clean backbone, the parameters of these names trainable; None = all. Only they are copied."""
        backbone = self.clean()
        for name, parameter in backbone.named_parameters():
            if names is None or name in names:
                self._pristine[name] = parameter.data
                # AdamW's small steps vanish in 16 bits; a copy in any case.
                parameter.data = parameter.data.to(torch.float32, copy=True)
                parameter.requires_grad = True
        return backbone


@contextmanager
def _disabled(adapted: BaseTuner) -> Iterator[None]:
    adapted.disable_adapter_layers()
    try:
        yield
    finally:
        adapted.enable_adapter_layers()


def load_model(model: ModelSource, places: Places) -> BaseModel:
    """Find, check and load the base model.

    Raises:
        SpecError: it cannot be used; the sentence says why and what to do.
        SourceUnreachable: its place does not answer now.
    """
    folder = find_model(model, places)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = _load_backbone(model.source, folder, device)
    tokenizer, pad_id, pad_token, tokenizer_limit = _load_tokenizer(model.source, folder)
    text_config = backbone.config.get_text_config()
    positions = getattr(text_config, "max_position_embeddings", None) or tokenizer_limit
    if len(tokenizer.get_vocab()) > text_config.vocab_size:
        raise SpecError(
            f"model.source {model.source}: the tokenizer knows {len(tokenizer.get_vocab())} tokens, the model"
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
    )


def _load_backbone(source: str, folder: Path, device: torch.device) -> Any:  # a transformers model has no useful type
    # Seconds of import, which tests of data and callers of the errors need not pay.
    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    config = _load_config(source, folder)
    try:
        backbone = transformers.AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # On a GPU the checkpoint's own precision; a CPU is slower in bfloat16 than in float32.
            dtype="auto" if device.type == "cuda" else torch.float32,
        )
    except (ValueError, OSError, RuntimeError, KeyError, SafetensorError) as error:
        raise SpecError(f"model.source {source}: the weights cannot be loaded ({_short(error)})") from error
    accepted = inspect.signature(backbone.forward).parameters
    if not {"input_ids", "attention_mask"} <= accepted.keys() or config.is_encoder_decoder:
        raise SpecError(
            f"model.source {source}: {type(backbone).__name__} is no encoder or decoder of text alone;"
            " use a BERT-like or GLM-like model"
        )
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # pooling is ours; its weights would only be carried along
    return backbone.to(device)


def _load_config(source: str, folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SpecError(f"model.source {source}: config.json cannot be read ({_short(error)})") from error
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError, AttributeError, TypeError) as error:
        remedy = (
            "it brings code of its own, which is never run; use a version that transformers knows itself"
            if "auto_map" in written
            else "check model_type in config.json"
        )
        raise SpecError(f"model.source {source}: unknown architecture ({_short(error)}); {remedy}") from error


def _load_tokenizer(source: str, folder: Path) -> tuple[Tokenizer, int, str, int]:
    """The tokenizer without truncation and padding, its padding token, and the longest input it was made for."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    except (ValueError, OSError, KeyError, AttributeError, TypeError, ImportError) as error:
        raise SpecError(
            f"model.source {source}: no usable tokenizer ({_short(error)}); add the model's tokenizer.json"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pad_token = str(loaded.pad_token or loaded.eos_token or tokenizer.id_to_token(0))
    pad_id = tokenizer.token_to_id(pad_token)
    if pad_id is None:
        raise SpecError(f"model.source {source}: the tokenizer's padding token {pad_token!r} is not in its vocabulary")
    return tokenizer, pad_id, pad_token, int(min(loaded.model_max_length, 2**31 - 1))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
