"""Prompts and their answers as tokens; the frame around a prompt is the one that the server puts around it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from autoglm_api.generation import PromptFrame
from autoglm_trainer.errors import DataError, Infeasible
from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.writer import Writer
from autoglm_trainer.rows.prompts import Answered
from autoglm_trainer.rows.splits import Splits, cut

from .examples import Examples, Tokens

logger = logging.getLogger(__name__)


@dataclass
class Conversations:
    """All rows of a study as tokens, encoded once; special tokens that a row spells out are plain text."""

    base: BaseModel
    splits: Splits[Answered]
    _kept: dict[str, tuple[Tokens, Tokens]] = field(default_factory=dict, repr=False)
    _told: set[tuple[str, int]] = field(default_factory=set, repr=False)

    @property
    def writer(self) -> Writer:
        """The whole model."""
        assert self.base.writer is not None, "the task loads a model that writes"
        return self.base.writer

    def check(self) -> None:
        """Refuse rows of which the tokenizer keeps nothing.

        Raises:
            DataError: naming source, line and text.
        """
        for split, rows in self.splits.by_name.items():
            for row, prompt, answer in zip(rows, *self._encoded(split), strict=True):
                for text, ids in ((row.prompt, prompt), (row.answer, answer)):
                    if not ids:
                        raise DataError(
                            f"{rows.where(row)}: the model's tokenizer keeps nothing of {cut(text)};"
                            " drop the row, or use a model that knows its script"
                        )

    def frame(self, max_length: int, max_new_tokens: int) -> PromptFrame:
        """What stands around prompts, so that prompt and answer take `max_length` tokens at most.

        Raises:
            Infeasible: nothing is left for the prompt.
        """
        writer, limit = self.writer, min(max_length, self.base.max_tokens)
        room = limit - max_new_tokens - len(writer.before) - len(writer.after)
        if room < 1:
            raise Infeasible(
                f"max_length {limit} has no room for a prompt beside max_new_tokens {max_new_tokens} and the"
                f" {len(writer.before) + len(writer.after)} tokens around a prompt; raise the one or lower the other"
            )
        return PromptFrame(before=writer.before, after=writer.after, ends=writer.ends, pad=self.base.pad_id, room=room)

    def prompts(self, split: str, frame: PromptFrame) -> Tokens:
        """What the model reads before it answers each row."""
        return tuple(frame.around(prompt) for prompt in self._encoded(split)[0])

    def examples(self, split: str, max_length: int, max_new_tokens: int) -> Examples:
        """Prompts with their answers, cut at `max_new_tokens`; the tokens of the answer and its end are the targets."""
        frame = self.frame(max_length, max_new_tokens)
        if split == "train":
            self._tell_cuts(frame, max_new_tokens)
        prompts = self.prompts(split, frame)
        answers = tuple((*answer, frame.ends[0])[:max_new_tokens] for answer in self._encoded(split)[1])
        return Examples(
            key=(split, max_length, max_new_tokens),
            # A token is predicted at the place before it, hence nothing is at the last one.
            tokens=tuple((*prompt, *answer[:-1]) for prompt, answer in zip(prompts, answers, strict=True)),
            items=tuple(range(len(prompts))),
            targets=answers,
            positions=tuple(
                tuple(range(len(prompt) - 1, len(prompt) - 1 + len(answer)))
                for prompt, answer in zip(prompts, answers, strict=True)
            ),
        )

    def _tell_cuts(self, frame: PromptFrame, max_new_tokens: int) -> None:
        """Log once for each length how many training rows are cut: what is learned of them is not to end."""
        prompts, answers = self._encoded("train")
        for what, all_of_them, room, parameter in (
            ("prompts", prompts, frame.room, "max_length"),
            # The token that ends an answer takes one.
            ("answers", answers, max_new_tokens - 1, "max_new_tokens"),
        ):
            cut_off = sum(len(ids) > room for ids in all_of_them)
            if cut_off and (what, room) not in self._told:
                self._told.add((what, room))
                logger.warning(
                    "%d of %d training %s are longer than %d tokens and are cut; the longest has %d: raise %s",
                    *(cut_off, len(all_of_them), what, room, max(map(len, all_of_them)), parameter),
                )

    def _encoded(self, split: str) -> tuple[Tokens, Tokens]:
        if split not in self._kept:
            tokenizer: Tokenizer = Tokenizer.from_str(self.base.tokenizer.to_str())
            tokenizer.encode_special_tokens = True
            rows = self.splits.by_name[split].rows
            texts = [row.prompt for row in rows], [row.answer for row in rows]
            prompts, answers = (
                tuple(tuple(found.ids) for found in tokenizer.encode_batch(each, add_special_tokens=False))
                for each in texts
            )
            self._kept[split] = prompts, answers
        return self._kept[split]
