"""A template: what is said once, and the block that is repeated for each example and for the question."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from typing_extensions import override

PLACE, ANSWER, LABELS = "{prompt}", "{answer}", "{labels}"
_PLACES = re.compile(r"\{(prompt|answer|labels)\}")
_APART = "\n\n"


@dataclass(frozen=True)
class Template:
    """A text with `{prompt}`, cut where its last empty line before that stands.

    Attributes:
        instruction: what stands before; may be empty, may name `{labels}`.
        block: holds `{prompt}`, and `{answer}` behind it.
    """

    instruction: str
    block: str

    @classmethod
    def read(cls, text: str) -> Template:
        """Without `{answer}` an answer stands on a line of its own at the block's end.

        Raises:
            ValueError: there is no `{prompt}`, or an answer before it.
        """
        text = text.strip()
        if PLACE not in text:
            raise ValueError(f"a template needs {PLACE} where the question stands, got {text[:80]!r}")
        instruction, apart, block = text[: text.index(PLACE)].rpartition(_APART)
        block = (block if apart else instruction + block) + text[text.index(PLACE) :]
        if ANSWER in text and text.index(ANSWER) < text.index(PLACE):
            raise ValueError(f"a template's {ANSWER} must stand behind its {PLACE}, got {text[:80]!r}")
        if ANSWER not in block:
            block = f"{block}\n{ANSWER}"
        return cls(instruction.strip() if apart else "", block)

    @override
    def __str__(self) -> str:
        return f"{self.instruction}{_APART}{self.block}" if self.instruction else self.block

    def render(
        self,
        prompt: str,
        examples: Sequence[tuple[str, str]] = (),
        *,
        labels: Sequence[str] = (),
        fits: Callable[[str], bool] = lambda _: True,
    ) -> str:
        """The whole prompt, up to where the answer begins.

        Args:
            prompt: the question.
            examples: prompts with their answers, the most important last.
            labels: what `{labels}` stands for.
            fits: whether the model can read such a prompt; while it cannot, the first example goes.
        """
        listed = ", ".join(labels)
        said = _filled(self.instruction, prompt="", answer="", labels=listed).strip()
        blocks = [_filled(self.block, prompt=one, answer=answer, labels=listed) for one, answer in examples]
        asked = _filled(self.block.split(ANSWER)[0], prompt=prompt, answer="", labels=listed).rstrip()
        while True:
            whole = _APART.join([said, *blocks, asked] if said else [*blocks, asked])
            if not blocks or fits(whole):
                return whole
            del blocks[0]


def _filled(text: str, **values: str) -> str:
    """In one pass, so that a question which spells out a place stays as it is."""
    return _PLACES.sub(lambda found: values[found[1]], text)
