"""What stands between a question and its answer, and how an endpoint is asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from autoglm_api import chat
from autoglm_api.catalog import TASKS
from autoglm_api.catalog.prompt_optimization import PROMPT_OPTIMIZATION
from autoglm_api.chat import Verdict
from autoglm_api.generation import AllowedTokens
from autoglm_api.prompting import Decoding, Example, Nearest, Recipe, Template, match_label
from autoglm_api.run import check_task
from autoglm_api.space import Choices, Parameter
from autoglm_api.study import ModelEndpoint, StudySpec

ENDPOINT = {"url": "https://models.example/v1", "model": "glm-4-flash"}


def spec(**changes: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "task": "prompt-optimization",
            "model": {"endpoint": ENDPOINT},
            "data": {"train": {"source": "s3://bucket/train.jsonl"}},
            "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
            **changes,
        }
    )


def test_the_instruction_is_said_once_and_the_block_for_every_example_and_the_question() -> None:
    template = Template.read("Sort into {labels}.\n\nText: {prompt}\nLabel: {answer}")
    assert template.render("so deep", [("a sky", "blue"), ("a fire", "red")], labels=("red", "blue")) == (
        "Sort into red, blue.\n\nText: a sky\nLabel: blue\n\nText: a fire\nLabel: red\n\nText: so deep\nLabel:"
    )


def test_a_template_of_one_paragraph_is_all_block_and_an_answer_without_a_place_gets_a_line() -> None:
    template = Template.read("Which colour? {prompt}")
    assert template.render("sky", [("fire", "red")]) == "Which colour? fire\nred\n\nWhich colour? sky"
    assert Template.read(str(template)) == template


def test_a_question_that_spells_out_a_place_stays_as_it_is() -> None:
    template = Template.read("{prompt} is {answer}")
    assert template.render("{answer} {labels}", [("{prompt}", "x")]) == "{prompt} is x\n\n{answer} {labels} is"


def test_examples_go_from_the_first_on_until_a_prompt_fits() -> None:
    template = Template.read("{prompt}={answer}")
    examples = [("far", "1"), ("near", "2")]
    assert template.render("x", examples, fits=lambda text: len(text) < 12) == "near=2\n\nx="
    assert template.render("x" * 40, examples, fits=lambda text: len(text) < 12) == "x" * 40 + "="


@pytest.mark.parametrize("text", ["no place at all", "{answer} to {prompt}"])
def test_a_template_that_cannot_be_asked_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a template"):
        Template.read(text)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("card_arrival", "card_arrival"),
        ("Card arrival.", "card_arrival"),
        ("The category is: card arrival, I think, not card", "card_arrival"),
        ("a card, not its card_arrival", "card"),
        ("discard", None),
        ("我要退款。", "退款"),
        ("", None),
    ],
)
def test_an_answer_stands_for_the_label_that_it_is_or_names_first(answer: str, label: str | None) -> None:
    assert match_label(answer, ("card", "card_arrival", "退款")) == label


@pytest.mark.parametrize(
    ("answer", "label"),
    [("C++", "C++"), ("It is C#.", "C#"), ("c", "C"), ("well: +", "+"), ("+ or -", None), ("", None)],
)
def test_signs_tell_labels_apart_where_nothing_else_does(answer: str, label: str | None) -> None:
    assert match_label(answer, ("C", "C#", "C++") if "c" in answer.lower() else ("+", "-")) == label


def test_the_most_similar_text_comes_last_in_any_script() -> None:
    index = Nearest(["where is my parcel", "cancel the card", "退款什么时候到"])
    assert index.find("the parcel has not come", 2)[-1] == 0
    assert index.find("我的退款呢", 1) == [2]
    assert index.find("zzz", 2) == [1, 0]


def test_similarity_is_that_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["where is my parcel my parcel", "cancel the card", "the parcel came without a card", "退款 我要"]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    table = vectorizer.fit_transform(texts)
    for asked in ("is a parcel there", "我要 card"):
        expected = (table @ vectorizer.transform([asked]).T).toarray().ravel()
        assert Nearest(texts).likeness(asked) == pytest.approx(expected.tolist())


def test_a_recipe_shows_all_its_examples_or_searches_them() -> None:
    examples = tuple(Example(prompt=text, answer=text[:1]) for text in ("red fire", "blue sky", "green grass"))
    always = Recipe(template="{prompt}:{answer}", examples=examples, decoding=Decoding(max_new_tokens=1))
    assert [example.answer for example in always.shown("a sky")] == ["r", "b", "g"]
    searched = always.model_copy(update={"nearest": 1})
    assert searched.ask("a sky") == "blue sky:b\n\na sky:"
    assert Recipe.model_validate_json(searched.model_dump_json(by_alias=True)) == searched


def test_only_whole_labels_can_be_written() -> None:
    allowed = AllowedTokens([[5, 6], [5, 7], [8]], ends=(9, 4))
    assert allowed.after([]) == [5, 8]
    assert allowed.after([5]) == [6, 7]
    assert allowed.after([8]) == allowed.after([8, 9, 0]) == [9]
    assert allowed.place([5, 7]) == 1
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        AllowedTokens([[5], [5]], ends=(9,))


@pytest.mark.parametrize(
    ("status", "payload", "verdict"),
    [
        (200, b"{}", Verdict.ANSWERED),
        (401, b"", Verdict.DENIED),
        (404, b"", Verdict.UNKNOWN),
        (307, b"", Verdict.UNKNOWN),
        (400, b"", Verdict.REFUSED),
        (429, b"slow down", Verdict.AGAIN),
        (429, b'{"error": {"code": "insufficient_quota"}}', Verdict.DENIED),
        (408, b"", Verdict.AGAIN),
        (503, b"", Verdict.AGAIN),
    ],
)
def test_what_a_status_means(status: int, payload: bytes, verdict: Verdict) -> None:
    assert chat.judge(status, payload) == verdict


def test_a_wait_is_what_the_endpoint_asks_for_and_grows_where_it_asks_for_nothing() -> None:
    now = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
    assert chat.wait_seconds("7", 1) == 7
    assert chat.wait_seconds("Sun, 01 Nov 2026 12:00:09 GMT", 1, now) == 9
    assert chat.wait_seconds("soon", 3) == chat.wait_seconds(None, 3) == 2
    assert chat.wait_seconds("86400", 1) == chat.LONGEST_WAIT_SECONDS
    assert chat.wait_seconds("-5", 1) == 0


def test_a_request_says_nothing_that_an_endpoint_need_not_know() -> None:
    endpoint = ModelEndpoint.model_validate(ENDPOINT)
    plain = json.loads(chat.request(endpoint, "hi", Decoding(max_new_tokens=5)))
    assert set(plain) == {"model", "messages", "max_tokens", "temperature"}
    assert plain["temperature"] == 0
    drawn = Decoding(kind="sample", temperature=0.4, top_p=0.9, top_k=20, max_new_tokens=5, seed=3)
    assert json.loads(chat.request(endpoint, "hi", drawn)) == {
        **plain, "temperature": 0.4, "top_p": 0.9, "top_k": 20, "seed": drawn.seed_of("hi")
    }  # fmt: skip


@pytest.mark.parametrize(
    "payload", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}']
)
def test_what_is_no_answer_is_told_apart(payload: bytes) -> None:
    with pytest.raises(ValueError, match="answer"):
        chat.read(payload)


def test_the_key_is_cut_out_of_what_an_endpoint_says() -> None:
    assert chat.shown(b'{"error": {"message": "bad key sk-123 there"}}', "sk-123") == "bad key … there"
    assert "sk-" not in chat.shown(b"x" * 296 + b" sk-123", "sk-123")
    with pytest.raises(ValueError, match="the answer is not one of a chat interface: no …"):
        chat.read(b"no sk-123", "sk-123")


def test_the_key_is_that_of_the_secret_or_else_of_the_environment() -> None:
    assert chat.find_key({"API_KEY": "sk-1"}, {"OPENAI_API_KEY": "sk-2"}) == "sk-1"
    assert chat.find_key({}, {"OPENAI_API_KEY": "sk-2\n"}) == "sk-2"
    assert chat.find_key({}, {}) is None


@pytest.mark.parametrize("key", ["“sk-1”", "sk-1\nsk-2", "sk\x001"])
def test_a_key_that_no_request_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="the key in OPENAI_API_KEY has blanks or signs") as refused:
        chat.find_key({}, {"OPENAI_API_KEY": key})
    assert "sk" not in str(refused.value)


def test_an_endpoint_s_space_has_nothing_that_only_weights_can_do() -> None:
    with_weights = PROMPT_OPTIMIZATION.space(None)
    of_endpoint = {parameter.name: parameter for parameter in PROMPT_OPTIMIZATION.space(spec().model)}
    assert {parameter.name for parameter in with_weights} - set(of_endpoint) == {"num_beams"}
    assert of_endpoint["decoding"].categorical == Choices(choices=("greedy", "sample"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"parameters": [{"name": "num_beams", "int": {"min": 2, "max": 4}}]},
            "an endpoint knows nothing of num_beams",
        ),
        (
            {"parameters": [{"name": "decoding", "categorical": {"choices": ["greedy", "beams"]}}]},
            "decoding beams is not to be had of an endpoint",
        ),
        ({"task": "text-classification"}, "model.endpoint: text-classification needs the weights themselves"),
        (
            {"parameters": [{"name": "template", "categorical": {"choices": ["plain", "Answer!"]}}]},
            r"or texts with \{prompt\}, got \['Answer!'\]",
        ),
        (
            {"parameters": [{"name": "template", "categorical": {"choices": ["plain", "{answer} to {prompt}"]}}]},
            r"template: a template's \{answer\} must stand behind its \{prompt\}, got '\{answer\} to",
        ),
        (
            {"model": None},
            r"prompt-optimization needs a base model; name .* in model.source, or model.endpoint",
        ),
    ],
)
def test_what_an_endpoint_or_a_template_cannot_do_is_refused_at_the_door(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_task(spec(**changes))


def test_only_this_task_takes_an_endpoint() -> None:
    assert [name for name, task in TASKS.items() if task.endpoint_lacks is not None] == ["prompt-optimization"]


def test_a_template_of_the_user_is_a_choice() -> None:
    own = Parameter(name="template", categorical=Choices(choices=("plain", "Sort: {prompt}\nInto: {answer}", "bred")))
    PROMPT_OPTIMIZATION.check_space((own,))
