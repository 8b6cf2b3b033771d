"""What prompt optimisation does of its own: a library, breeding, examples, and a search that finds the phrasing."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from tests.store.studies import make_study
from tests.trainer.contract.cases import CASES
from tests.trainer.task.making import (
    FOLLOWED,
    TINY,
    WORDS,
    Control,
    make_places,
    make_run,
    write_model,
    write_rows,
    write_tokenizer,
)
from tests.trainer.worker.processes import make_worker
from transformers import Gemma2Config, Gemma2ForCausalLM

from autoglm_api.attempts import Limits, TrialAttribute
from autoglm_api.catalog.prompt_optimization import PROMPT_OPTIMIZATION, TEMPLATES
from autoglm_api.prompting import LABELS, Example, Template
from autoglm_store.ledger import best, whole_point
from autoglm_trainer.errors import DataError, Infeasible
from autoglm_trainer.export import export_run
from autoglm_trainer.prompting.breeding import LONGEST, breed
from autoglm_trainer.prompting.respondent import Response
from autoglm_trainer.prompting.shelves import language_of, shelf
from autoglm_trainer.prompting.shots import chosen_examples
from autoglm_trainer.reproduction import reproduce
from autoglm_trainer.tasks import get_task

CASE = next(case for case in CASES if case.task == "prompt-optimization")
ENGLISH = shelf("classification", "en")


def load(folder: Path, model: Path, rows: list[dict[str, Any]] | None = None, **changes: Any) -> Any:
    train = write_rows(folder / "train.jsonl", rows or CASE.rows(60, 0))
    changes.setdefault("objectives", [{"metric": "accuracy", "direction": "Maximize"}])
    run = make_run(f"file://{model}", train, task="prompt-optimization", **changes)
    return get_task("prompt-optimization").load(run, make_places(folder))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("taught") / "model", "glm-taught")


@pytest.fixture(scope="module")
def loaded(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tmp_path_factory.mktemp("rows"), model)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("purpose", ["classification", "answering", "summary"])
def test_the_library_has_every_template_in_both_languages(purpose: Any, language: Any) -> None:
    found = shelf(purpose, language)
    assert tuple(found.templates) == TEMPLATES
    assert found.sentences
    for text in (*found.templates.values(), *found.blocks):
        assert "{answer}" in Template.read(text).block
    assert all(LABELS in text for text in found.templates.values()) == (purpose == "classification")


def test_the_language_is_that_of_the_prompts() -> None:
    assert language_of(["where is my parcel", "ok 好"]) == "en"
    assert language_of(["我的包裹 order 到哪里了", "退款"]) == "zh"


def test_bred_templates_are_new_sound_and_keep_the_labels() -> None:
    parents = [ENGLISH.templates["strict"], ENGLISH.templates["careful"]]
    known = set(parents)
    for seed in range(200):
        child = breed(parents, ENGLISH, known=known, seed=seed)
        assert child not in known
        assert len(child) <= LONGEST
        assert LABELS in child
        assert str(Template.read(child)) == child
        known.add(child)
    assert breed(parents, ENGLISH, known=(), seed=4) == breed(parents, ENGLISH, known=(), seed=4)


def test_a_template_without_labels_stays_so_and_chinese_sentences_stay_apart() -> None:
    parent = shelf("answering", "zh").templates["careful"]
    children = {breed([parent], shelf("answering", "zh"), known=[parent], seed=seed) for seed in range(60)}
    assert len(children) > 20
    assert not any(LABELS in child for child in children)
    assert any("请把问题读完。" in child and "动笔之前先想清楚要的是什么。" not in child for child in children)


def worth(text: str) -> float:
    """A judge with a taste of its own: three sentences and a layout, none of which stands together in the library."""
    wanted = (ENGLISH.sentences[0], ENGLISH.sentences[2], ENGLISH.sentences[5], ENGLISH.blocks[3])
    return sum(each in text for each in wanted) - len(text) / 10_000


def evolved(*, scored: bool, seed: int) -> float:
    """The worth of the best of 40 templates; without scores every parent is as good as any other."""
    tried = {text: worth(text) for text in ENGLISH.templates.values()}
    for number in range(40):
        ranked = sorted(tried, key=lambda text: -tried[text])
        if not scored:
            ranked = list(ENGLISH.templates.values())
            random.Random(number + 1_000 * seed).shuffle(ranked)
        child = breed(ranked, ENGLISH, known=tried, seed=number + 1_000 * seed)
        tried[child] = worth(child)
    return max(tried.values())


def test_breeding_from_what_scored_well_finds_what_drawing_does_not() -> None:
    scored = [evolved(scored=True, seed=seed) for seed in range(8)]
    drawn = [evolved(scored=False, seed=seed) for seed in range(8)]
    assert sum(scored) / 8 > sum(drawn) / 8 + 0.5
    assert max(scored) > 3.9


def examples() -> list[Example]:
    return [Example(prompt=row["prompt"], answer=row["answer"]) for row in CASE.rows(60, 0)]


def test_examples_for_all_questions_take_turns_of_the_labels_and_hang_on_the_seed() -> None:
    for selection in ("random", "diverse"):
        found, nearest = chosen_examples(examples(), 6, selection, labelled=True, seed=1)
        assert nearest == 0
        assert sorted(example.answer for example in found) == ["blue", "blue", "green", "green", "red", "red"]
        assert found == chosen_examples(examples(), 6, selection, labelled=True, seed=1)[0]
        assert found != chosen_examples(examples(), 6, selection, labelled=True, seed=2)[0]


def test_diverse_examples_are_less_alike_than_random_ones() -> None:
    def alike(selection: str) -> float:
        some, _ = chosen_examples(examples(), 5, selection, labelled=False, seed=3)
        words = [set(example.prompt.split()) for example in some]
        return sum(len(a & b) / len(a | b) for a in words for b in words)

    assert alike("diverse") < alike("random")


def test_similar_examples_are_searched_for_each_question_and_no_question_shows_itself(loaded: Any) -> None:
    fitted = loaded.fit({"template": "plain", "shots": 3, "selection": "similar"}, Control())
    assert (fitted.recipe.nearest, len(fitted.recipe.examples)) == (3, len(loaded.splits.train))
    for row in loaded.splits.validation:
        shown = fitted.recipe.shown(row.prompt)
        assert len(shown) == 3
        assert row.prompt not in [example.prompt for example in shown]


def test_an_answer_is_one_of_the_labels_and_nothing_else(loaded: Any) -> None:
    for point in ({"template": "brief"}, {"template": "brief", "decoding": "sample", "temperature": 2.0}):
        answers = loaded.fit(point, Control()).predict("validation").answers
        assert set(answers) <= {"red", "green", "blue"}


def test_what_is_drawn_hangs_on_the_seed_and_not_on_the_batch(loaded: Any) -> None:
    hot = {"template": FOLLOWED, "decoding": "sample", "temperature": 2.0, "top_k": 20, "purpose": "answering"}
    fitted = loaded.fit({**hot, "max_new_tokens": 6}, Control())
    prompts, decoding = fitted._prompts("validation", range(8)), fitted.recipe.decoding
    together = loaded.respondent.answer(prompts, decoding, labels=(), heartbeat=lambda: None)
    alone = [loaded.respondent.answer([each], decoding, labels=(), heartbeat=lambda: None)[0] for each in prompts]
    assert [each.text for each in together] == [each.text for each in alone]
    other = decoding.model_copy(update={"seed": 1})
    again = loaded.respondent.answer(prompts, other, labels=(), heartbeat=lambda: None)
    assert [each.text for each in again] != [each.text for each in together]


def test_nothing_is_asked_twice_and_a_resumed_trial_asks_only_what_is_left(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, asked = load(tmp_path, model), []
    answer = task.respondent.answer

    def watched(prompts: Any, *rest: Any, **named: Any) -> Any:
        asked.extend(prompts)
        return answer(prompts, *rest, **named)

    monkeypatch.setattr(task.respondent, "answer", watched)
    monkeypatch.setattr(task.respondent, "together", 4)
    monkeypatch.setattr("autoglm_trainer.prompting.fitted.FittedPrompt._latency", lambda *_: 1.0)
    point = {"template": "strict", "shots": 2, "selection": "random"}
    with pytest.raises(InterruptedError):
        task.fit(point, Control(save_to=tmp_path / "checkpoint", stop_after_beats=8))
    begun = len(asked)
    assert 0 < begun < len(task.splits.validation)
    task._answered.clear()
    control = Control(resume_from=tmp_path / "checkpoint")
    fitted = task.fit(point, control)
    assert len(asked) == len(set(asked)) == len(task.splits.validation)
    assert control.reports[-1][0] == len(task.splits.validation)
    assert control.reports[0][0] > 1
    again = task.fit(point, Control())
    assert again.evaluate("validation") == fitted.evaluate("validation")
    asked.clear()
    task.fit(point, Control())
    assert asked == []


def test_reports_are_of_all_rows_so_far_but_of_single_rows_for_wilcoxon(model: Path, tmp_path: Path) -> None:
    control = Control()
    value = load(tmp_path, model).fit({"template": "plain"}, control).evaluate("validation")["accuracy"]
    assert control.reports[-1][1] == pytest.approx(value)
    single = Control()
    load(tmp_path, model, pruner={"type": "Wilcoxon"}).fit({"template": "plain"}, single)
    assert {each for _, each in single.reports} == {0.0, 1.0}
    assert sum(each for _, each in single.reports) / len(single.reports) == pytest.approx(value)


def test_only_so_many_rows_are_judged_as_the_study_says(loaded: Any) -> None:
    fitted = loaded.fit({"template": "plain", "judged_rows": 4}, Control())
    assert len(fitted.predict("validation")) == 4
    assert loaded.judged(4) == loaded.judged(4)


def test_answers_that_are_no_labels_cannot_be_classified(model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"the sky {'so ' * index}", "answer": f"deep {'very ' * index}"} for index in range(12)]
    with pytest.raises(DataError, match=r"accuracy needs answers that are labels, and 10 rows have 10 different ones"):
        load(tmp_path, model, rows)
    task = load(tmp_path, model, rows, objectives=[{"metric": "rouge_l", "direction": "Maximize"}])
    with pytest.raises(Infeasible, match="purpose classification needs answers that are labels"):
        task.fit({"purpose": "classification"}, Control())
    measured = task.fit({}, Control()).evaluate("validation")
    assert measured["rouge_l"] >= 0
    assert measured["accuracy"] != measured["accuracy"]


def test_labels_that_are_the_same_to_the_tokenizer_are_refused(model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"the sky {'so ' * index}", "answer": ("refund", "parcel")[index % 2]} for index in range(20)]
    with pytest.raises(DataError, match="'parcel' and 'refund' are the same to the model's tokenizer"):
        load(tmp_path, model, rows).fit({}, Control())


def test_an_answer_too_long_for_the_model_is_infeasible(loaded: Any) -> None:
    with pytest.raises(Infeasible, match="max_new_tokens 64 leaves no room for a prompt: the model takes 64 tokens"):
        loaded.fit({"max_new_tokens": 64}, Control())


def test_a_rewritten_template_is_in_the_model_s_words_or_else_bred(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    point, strict = {"template": "rewritten"}, ENGLISH.templates["strict"]
    known = [{"template": "strict"}]
    said = ["Name one of {labels}."]

    def answer(prompts: Any, *_: Any, **__: Any) -> Any:
        assert Template.read(strict).instruction in prompts[0]
        return [replace(response, text=said[0]) for response in given]

    given = [Response("", 3.0, 0.1)]
    bred = loaded.derive({"template": "bred"}, best=known, tried=known, seed=1)
    assert loaded.derive(point, best=known, tried=known, seed=1) == bred, "64 tokens have no room for the request"
    monkeypatch.setattr(loaded.respondent, "max_tokens", 512)
    monkeypatch.setattr(loaded.respondent, "answer", answer)
    rewritten = loaded.derive(point, best=known, tried=known, seed=1)
    assert rewritten == {"template": str(Template("Name one of {labels}.", Template.read(strict).block))}
    said[0] = "Labels are lost here."
    assert loaded.derive(point, best=known, tried=known, seed=1) == bred


SPACE = [
    {"name": "template", "categorical": {"choices": ["plain", "brief", FOLLOWED, "bred"]}},
    {"name": "shots", "int": {"min": 0, "max": 2}},
]


@pytest.fixture(scope="module")
def searched(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ten trials from the default on."""
    folder = tmp_path_factory.mktemp("searched")
    run = make_run(
        f"file://{model}",
        write_rows(folder / "train.jsonl", CASE.rows(150, 0)),
        task="prompt-optimization",
        artifacts=f"file://{folder}/artifacts",
        data={"test": {"source": write_rows(folder / "test.jsonl", CASE.rows(30, 200))}},
        enqueue=[{"template": "plain", "shots": 0}, {"template": "bred", "shots": 0}],
        parameters=SPACE,
        # Before step 14, answers that are right or wrong make SciPy count every permutation: a second a step.
        pruner={"type": "Wilcoxon", "warmupSteps": 14},
        trials={"max": 10},
    )
    url = f"journal://{folder}/journal.log"
    study = make_study(url, run, Limits(max=10, max_failed=0, retries=0))
    worker = make_worker(url, run, get_task(run.task).load(run, make_places(folder)), folder)
    worker.work()
    return folder, run, study, worker.artifacts


def test_a_search_finds_the_phrasing_that_the_model_follows_and_it_holds_on_test_rows(searched: Any) -> None:
    folder, run, study, artifacts = searched
    winner = best(study.get_trials(), run)
    assert FOLLOWED in whole_point(winner)["template"]
    done = export_run(study, run, make_places(folder), artifacts)
    assert done.metrics["accuracy"] >= 0.9
    default = study.get_trials()[0]
    assert default.user_attrs[TrialAttribute.METRICS]["accuracy"] <= 0.6
    assert FOLLOWED in (folder / "artifacts/export/README.md").read_text()


def test_wilcoxon_ends_what_is_worse_row_by_row(searched: Any) -> None:
    _, _, study, _ = searched
    pruned = [trial for trial in study.get_trials() if trial.state == TrialState.PRUNED]
    assert pruned
    rows = len(study.get_trials()[0].intermediate_values)
    assert all(len(trial.intermediate_values) < rows for trial in pruned)


def test_what_was_bred_is_noted_and_comes_out_the_same_again(searched: Any) -> None:
    folder, run, study, _ = searched
    trial = study.get_trials()[1]
    (text,) = trial.user_attrs[TrialAttribute.DERIVED].values()
    assert "{prompt}" in text
    found = reproduce(study, run, trial, make_places(folder))
    assert found.figures
    assert [figure for figure in found.figures if not figure.agrees(0)] == []


def test_every_choice_of_the_default_space_can_be_asked(loaded: Any) -> None:
    for point in PROMPT_OPTIMIZATION.points:
        assert 0 <= loaded.fit(point, Control()).evaluate("validation")["accuracy"] <= 1


def test_a_model_that_caps_its_logits_is_asked_and_shipped(tmp_path: Path) -> None:
    """None of its weights is trained, so that its output layer alone does not say its logits is no hindrance."""
    sizes = {**TINY, "head_dim": 8, "num_key_value_heads": 2, "vocab_size": 5 + len(dict.fromkeys(WORDS))}
    capped = Gemma2ForCausalLM(Gemma2Config(**sizes, final_logit_softcapping=0.01, pad_token_id=0, eos_token_id=4))
    capped.save_pretrained(tmp_path / "model")
    write_tokenizer(tmp_path / "model")
    fitted = load(tmp_path, tmp_path / "model").fit({"template": "plain", "shots": 0}, Control())
    assert 0 <= fitted.evaluate("validation")["accuracy"] <= 1
    (tmp_path / "exported").mkdir()
    fitted.export(tmp_path / "exported")
    assert json.loads((tmp_path / "exported/config.json").read_text())["final_logit_softcapping"] == 0.01
