"""How a text becomes words before they are tagged."""

from __future__ import annotations

import pytest

from autoglm_serving.tasks.token_classification import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  Anna lives\nin Oslo. ", ["Anna", "lives", "in", "Oslo", "."]),
        ("it's #1, a@b.de €5", ["it", "'", "s", "#", "1", ",", "a", "@", "b", ".", "de", "€", "5"]),
        ("我在Oslo工作。", ["我", "在", "Oslo", "工", "作", "。"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("서울에 가요\u3000네", ["서울에", "가요", "네"]),
        ("", []),
    ],
)
def test_words_end_at_spaces_and_punctuation_and_ideographs_stand_alone(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == words
