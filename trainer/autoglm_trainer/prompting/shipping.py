"""The model in memory as files, beside the recipe that it is asked by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoglm_api.generation import PROMPT
from autoglm_trainer.errors import ExportError

from .local import LocalModel

if TYPE_CHECKING:
    from .fitted import FittedPrompt

_CHECKED_PROMPTS = 8


def ship(fitted: FittedPrompt, folder: Path) -> None:
    """Write weights, tokenizer and what stands around prompts, and check what the written model answers.

    Raises:
        ExportError: it answers differently.
    """
    from transformers import AutoModelForCausalLM

    ours = fitted.task.respondent
    assert isinstance(ours, LocalModel), "only a model in memory is shipped"
    ours.model.save_pretrained(folder)
    ours.written.save_pretrained(folder)
    recipe = fitted.recipe
    frame = ours.frame(recipe.decoding.max_new_tokens)
    (folder / PROMPT).write_text(frame.model_dump_json(by_alias=True) + "\n", encoding="utf-8")
    rows = range(min(_CHECKED_PROMPTS, fitted.task.row_counts["validation"]))
    fits = fitted.task.fitting(recipe.decoding)
    prompts = [recipe.ask(fitted.task.splits.validation.rows[row].prompt, fits) for row in rows]
    expected = fitted.task.ask(prompts, recipe.decoding, recipe.labels, lambda: None)
    loaded = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype="auto")
    again = LocalModel(loaded.to(ours.model.device).eval(), ours.tokenizer, frame, ours.max_tokens, half=ours.half)
    found = again.answer(prompts, recipe.decoding, labels=recipe.labels, heartbeat=lambda: None)
    for prompt, wanted, got in zip(prompts, expected, found, strict=True):
        if wanted.text != got.text:
            raise ExportError(
                f"the exported model answers {got.text[:80]!r} where the searched one answered {wanted.text[:80]!r}, to"
                f" {prompt[-80:]!r}; please report this with the model's name"
            )
