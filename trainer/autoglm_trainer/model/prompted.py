"""A frozen backbone with learned virtual tokens or learned keys and values before every text.

PEFT's prompt classes are not used: they shift the positions of real tokens, leave the virtual ones in the hidden
states, and wrap the shared backbone in a model of their own whose graph does not take ids and mask alone.

Heads never see virtual tokens, and the real ones keep the positions that they were pretrained at, so neither padding
nor `max_tokens` changes. Virtual tokens come first, where a decoder's later tokens see them, at negative positions; an
encoder that looks its positions up in a table has them all at its first one.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutput
from typing_extensions import override

from autoglm_trainer.errors import SpecError


class Prompt(nn.Module):
    """Virtual tokens for a batch of texts."""

    def __init__(self, rows: Tensor) -> None:
        """Start from `rows`, (length, hidden)."""
        super().__init__()
        self.rows = nn.Parameter(rows)

    @override
    def forward(self, embedded: Tensor, attention_mask: Tensor) -> Tensor:
        """Embedded texts (batch, tokens, hidden) and their mask → (length, hidden) or (batch, length, hidden)."""
        return self.rows

    def folded(self) -> Prompt:
        """The same with what does not depend on the text computed once."""
        return self


class Guided(nn.Module):
    """A backbone with something learned before every text; answers hidden states of the real tokens alone.

    Attributes:
        length: virtual tokens, or learned keys and values a layer.
    """

    needs: tuple[str, ...] = ()

    def __init__(self, model: nn.Module, length: int) -> None:
        super().__init__()
        self.model = model  # first, so that its precision is the precision of the whole
        self.length = length

    @property
    def config(self) -> Any:  # a transformers config has no useful type
        """The backbone's."""
        return self.model.config

    @classmethod
    def check(cls, model: nn.Module, method: str) -> None:
        """Refuse a model that cannot be guided this way.

        Raises:
            SpecError: its `forward` lacks an input.
        """
        missing = [name for name in cls.needs if name not in inspect.signature(model.forward).parameters]
        if missing:
            raise SpecError(
                f"parameters.method {method}: {type(model).__name__} takes no {' and no '.join(missing)};"
                " use another method (lora) or another model"
            )

    def folded(self) -> Guided:
        """The same with what does not depend on the text computed once; shares the backbone."""
        return self

    def _mask(self, attention_mask: Tensor) -> Tensor:
        before = attention_mask.new_ones(attention_mask.shape[0], self.length)
        return torch.cat([before, attention_mask], dim=1)  # (batch, length + tokens)


class Prompted(Guided):
    """Virtual tokens before every text."""

    needs = ("inputs_embeds", "position_ids")

    def __init__(self, model: nn.Module, prompt: Prompt, length: int) -> None:
        super().__init__(model, length)
        self.prompt = prompt

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor, **asked: bool) -> BaseModelOutput:
        """(batch, tokens) twice, and what else the model is asked for → hidden states (batch, tokens, hidden)."""
        embedded = self.model.get_input_embeddings()(input_ids)  # type: ignore[operator]
        prompt = self.prompt(embedded, attention_mask).to(embedded.dtype)
        found = self.model(
            inputs_embeds=torch.cat([prompt.expand(embedded.shape[0], -1, -1), embedded], dim=1),
            attention_mask=self._mask(attention_mask),
            position_ids=positions(self.model, self.length, input_ids.shape[1], input_ids.device),
            **asked,
        )
        every = tuple(hidden[:, self.length :] for hidden in found.hidden_states or ())
        return BaseModelOutput(last_hidden_state=found.last_hidden_state[:, self.length :], hidden_states=every or None)

    @override
    def folded(self) -> Prompted:
        return Prompted(self.model, self.prompt.folded(), self.length)


class Prefix(nn.Module):
    """Learned keys and values, (layers, heads, length, size of a head) each."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values = nn.Parameter(keys), nn.Parameter(values)


class Prefixed(Guided):
    """Keys and values in every layer before those of the text."""

    needs = ("past_key_values", "position_ids")

    def __init__(self, model: nn.Module, prefix: Prefix) -> None:
        super().__init__(model, prefix.keys.shape[2])
        self.prefix = prefix

    @classmethod
    def of(cls, model: nn.Module, ids: Tensor) -> Prefixed:
        """Start from the keys and values that the model itself makes of token ids (length,)."""
        cache, length = DynamicCache(), len(ids)
        with torch.no_grad():
            where = positions(model, length, 0, ids.device)
            model(input_ids=ids[None], attention_mask=None, past_key_values=cache, position_ids=where)
        layers: Any = cache.layers  # each with keys and values (1, heads, length, size)
        keys = torch.cat([layer.keys for layer in layers]).float()
        values = torch.cat([layer.values for layer in layers]).float()
        return cls(model, Prefix(keys, values))

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor, **asked: bool) -> BaseModelOutput:
        """(batch, tokens) twice, and what else the model is asked for → hidden states (batch, tokens, hidden)."""
        cache, dtype = DynamicCache(), next(self.model.parameters()).dtype
        for layer, (keys, values) in enumerate(zip(self.prefix.keys, self.prefix.values, strict=True)):
            size = (input_ids.shape[0], -1, -1, -1)
            cache.update(keys.to(dtype).expand(size), values.to(dtype).expand(size), layer)
        found = self.model(
            input_ids=input_ids,
            attention_mask=self._mask(attention_mask),
            past_key_values=cache,
            position_ids=positions(self.model, 0, input_ids.shape[1], input_ids.device),
            **asked,
        )
        return BaseModelOutput(last_hidden_state=found.last_hidden_state, hidden_states=found.hidden_states)


def positions(model: nn.Module, length: int, tokens: int, device: torch.device) -> Tensor:
    """Positions (1, length + tokens) of virtual and real tokens."""
    found = (torch.arange(length + tokens, device=device) - length)[None]
    table = next((part for name, part in model.named_modules() if name.endswith("position_embeddings")), None)
    if not isinstance(table, nn.Embedding):
        return found
    # RoBERTa's table begins after its row for padding.
    first = 0 if table.padding_idx is None else table.padding_idx + 1
    return found.clamp(min=0) + first
