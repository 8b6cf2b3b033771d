"""A causal language model as a whole: backbone, its own output layer, and how its conversations are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from tokenizers import Tokenizer
from torch import nn

from autoglm_trainer.errors import SpecError

from .weights import load_weights, placed, short

_PROBED_TOKENS = 6
# Stand in for a prompt where a chat template is asked what it puts around one.
_PROBES = ("\ue000", "\ue001 \ue002")


@dataclass(frozen=True)
class Writer:
    """What a backbone lacks to write texts.

    Attributes:
        model: transformers' causal model; the backbone is its part, so adapters in that are adapters in this.
        output: hidden states → one logit a token of the vocabulary. Its weights may be the embeddings' own.
        tokenizer: transformers' own, for the files that others load the model with.
        before: token ids that every prompt begins with. after: those between a prompt and its answer.
        ends: tokens that end an answer; the first is what training rows end with.
    """

    model: Any
    output: nn.Linear
    tokenizer: Any
    before: tuple[int, ...]
    after: tuple[int, ...]
    ends: tuple[int, ...]


def load_whole(source: str, folder: Path, config: Any, device: torch.device, *, trained: bool) -> Any:
    """The causal model of transformers, on its device if that can hold it.

    Args:
        source: the study's words for the model, for messages.
        folder: where it is.
        config: as read from there.
        device: where it will be.
        trained: whether it learns by the loss of what its output layer says; else transformers alone asks it.

    Raises:
        SpecError: it is none, or, where it is trained, it makes more of hidden states than its output layer says.
    """
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    needed = "the task needs one, such as a GLM"
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or config.is_encoder_decoder:
        raise SpecError(
            f"model.source {source}: {config.model_type} is not a causal language model:"
            f" it is not made to write texts; {needed}"
        )
    model, missing = load_weights(AutoModelForCausalLM, source, folder, config, device)
    model = placed(model, device).eval()
    ids = torch.arange(_PROBED_TOKENS, device=model.device)[None] % model.config.get_text_config().vocab_size
    other = ids.clone()
    other[0, -1] = 0
    with torch.no_grad():
        hidden, changed = (model.base_model(input_ids=each).last_hidden_state for each in (ids, other))
        if not torch.allclose(hidden[:, :-1], changed[:, :-1], rtol=1e-4, atol=1e-5):
            raise SpecError(
                f"model.source {source}: {type(model).__name__} is not a causal language model:"
                f" what it makes of a word depends on the words after it; {needed}"
            )
        output = model.get_output_embeddings()
        if not isinstance(output, nn.Linear) or any(_is_of(name, output, model) for name in missing):
            raise SpecError(
                f"model.source {source}: the folder has no output layer, only the layers below it; use the folder"
                " that the causal language model was saved to"
            )
        if trained and not torch.allclose(output(hidden), model(input_ids=ids).logits, rtol=1e-3, atol=1e-3):
            raise SpecError(
                f"model.source {source}: {type(model).__name__} scales or caps what its output layer says, which"
                " text-generation does not do yet; use another model, or search its prompts with prompt-optimization"
            )
    return model


def make_writer(source: str, model: Any, loaded: Any, tokenizer: Tokenizer, pad_id: int) -> Writer:
    """How `model` is asked and how it ends.

    Args:
        source: the study's words for the model, for messages.
        model: the causal model.
        loaded: transformers' tokenizer.
        tokenizer: the same without truncation and padding.
        pad_id: what fills up shorter texts.

    Raises:
        SpecError: its chat template cannot be used, or it knows no token that ends a text.
    """
    from transformers import GenerationConfig

    ends = _ends(loaded, tokenizer, model)
    if not ends:
        raise SpecError(
            f"model.source {source}: neither tokenizer nor config names a token that ends a text (eos_token);"
            " name it in tokenizer_config.json"
        )
    before, after = _frame(source, loaded, tokenizer, pad_id)
    # The folder's own settings (sampling, penalties) are for conversations; the study's knobs say what holds here.
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=list(ends), pad_token_id=pad_id
    )
    return Writer(model, model.get_output_embeddings(), loaded, before, after, ends)


def _is_of(name: str, output: nn.Linear, model: Any) -> bool:
    return any(part is output and name.startswith(f"{own}.") for own, part in model.named_modules())


def _ends(loaded: Any, tokenizer: Tokenizer, model: Any) -> tuple[int, ...]:
    own = tokenizer.token_to_id(loaded.eos_token) if loaded.eos_token else None
    told = [model.generation_config.eos_token_id, model.config.get_text_config().eos_token_id]
    flat = [each for one in told for each in (one if isinstance(one, list | tuple) else [one])]
    return tuple(dict.fromkeys(each for each in [own, *flat] if each is not None))


def _frame(source: str, loaded: Any, tokenizer: Tokenizer, pad_id: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids before and after a prompt: the chat template's, else the tokenizer's own begin and a line's end."""
    if not loaded.chat_template:
        single = tokenizer.encode("a")
        begin = [token for token, text in zip(single.ids, single.sequence_ids, strict=True) if text is None]
        places = [place for place, text in enumerate(single.sequence_ids) if text is not None]
        # Only what stands before the text: an end of text after the prompt would forbid an answer.
        first = places[0] if places else len(single.ids)
        # A vocabulary of words alone has no line's end; there the padding token parts the two.
        return tuple(begin[:first]), tuple(tokenizer.encode("\n", add_special_tokens=False).ids) or (pad_id,)
    try:
        rendered = [
            loaded.apply_chat_template([{"role": "user", "content": probe}], tokenize=False, add_generation_prompt=True)
            for probe in _PROBES
        ]
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise SpecError(f"model.source {source}: its chat template fails ({short(error)})") from error
    around = {tuple(text.split(probe)) for text, probe in zip(rendered, _PROBES, strict=True)}
    if len(around) != 1 or len(next(iter(around))) != 2:
        raise SpecError(
            f"model.source {source}: its chat template does not put the same words around every prompt, each prompt"
            " once; simplify it, or remove it from the tokenizer's files"
        )
    before, after = (tuple(tokenizer.encode(text, add_special_tokens=False).ids) for text in around.pop())
    return before, after
