"""What text generation does of its own: prompts in a frame, a loss on answers alone, metrics, and what it refuses."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from tests.trainer.contract.cases import CASES
from tests.trainer.task.making import TINY, WORDS, Control, make_places, make_run, write_model, write_rows
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, Gemma2ForCausalLM, GlmConfig, GlmForCausalLM

from autoglm_api.generation import PromptFrame, batches
from autoglm_api.manifest import Manifest
from autoglm_serving.answerer import load_answerer
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused
from autoglm_serving.tasks.text_generation import TextGenerator
from autoglm_trainer.errors import DataError, Infeasible, SpecError
from autoglm_trainer.metrics.texts import exact_match, measure, rouge_l, row_scores
from autoglm_trainer.tasks import get_task

CASE = next(case for case in CASES if case.task == "text-generation")
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def load(folder: Path, model: Path, rows: list[dict[str, Any]] | None = None, **data: Any) -> Any:
    train = write_rows(folder / "train.jsonl", rows or CASE.rows(12, 0))
    run = make_run(
        f"file://{model}",
        train,
        task="text-generation",
        data=data,
        objectives=[{"metric": "loss", "direction": "Minimize"}],
    )
    return get_task("text-generation").load(run, make_places(folder))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("causal") / "model", "glm-causal")


@pytest.fixture(scope="module")
def loaded(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load(tmp_path_factory.mktemp("rows"), model)


def with_template(model: Path, template: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(model)
    whole = AutoModelForCausalLM.from_pretrained(model)
    whole.resize_token_embeddings(len(tokenizer))
    whole.save_pretrained(model)


def test_rouge_is_that_of_the_reference_implementation() -> None:
    reference = RougeScorer(["rougeL"])
    rng = np.random.default_rng(0)
    for _ in range(40):
        truth, answer = (" ".join(rng.choice(["a", "red", "Sky,", "is", "7"], size=rng.integers(1, 9))) for _ in "ab")
        assert rouge_l(answer, truth) == pytest.approx(reference.score(truth, answer)["rougeL"].fmeasure)


def test_chinese_is_compared_character_by_character() -> None:
    assert rouge_l("我要退款", "我要取消") == 0.5
    assert rouge_l("red 红", "red 绿") == 0.5
    assert row_scores("我要取消订单", "我要取消订单")[2] == 100


def test_bleu_of_rows_summed_is_that_of_the_corpus() -> None:
    truth = ["the cat sat on the mat today", "a red sky is deep", "no"]
    answers = ["the cat sat on a mat", "a red sky is so deep", "yes"]
    scores = np.array([row_scores(*pair) for pair in zip(answers, truth, strict=True)])
    found = measure(scores, np.array([[2.0, 4.0], [1.0, 2.0], [3.0, 2.0]]))
    assert found["bleu"] == pytest.approx(BLEU(tokenize="13a").corpus_score(answers, [truth]).score)
    assert found["loss"] == pytest.approx(6 / 8)
    assert found["perplexity"] == pytest.approx(np.exp(6 / 8))


def test_white_space_and_the_spelling_of_accents_do_not_make_an_answer_wrong() -> None:
    assert exact_match("caf\u00e9  now\n", "cafe\u0301 now")
    assert not exact_match("cafe now", "Cafe now")


def test_only_the_tokens_of_the_answer_and_its_end_are_learned(loaded: Any) -> None:
    row = loaded.problem.splits.train.rows[1]
    settings = loaded.problem.settings({"max_length": 40, "max_new_tokens": 10})
    examples = loaded.problem.examples("train", settings)
    tokens, places, targets = examples.tokens[1], examples.positions[1], examples.targets[1]
    tokenizer: Tokenizer = loaded.base.tokenizer
    assert tokenizer.decode(list(targets), skip_special_tokens=False) == f"{row.answer} <|endoftext|>"
    assert [tokens[place + 1] for place in places[:-1]] == list(targets[:-1])
    assert tokenizer.decode(list(tokens[: places[0] + 1]), skip_special_tokens=False) == (
        f"[gMASK] <sop> {row.prompt} [PAD]"
    )


def test_a_long_prompt_keeps_its_end_and_a_long_answer_its_beginning(model: Path, tmp_path: Path) -> None:
    row = {"prompt": "red " * 50 + "deep sky", "answer": "blue " + "green " * 50}
    held_out = write_rows(tmp_path / "validation.jsonl", CASE.rows(2, 0))
    problem = load(tmp_path, model, [row], validation={"source": held_out}).problem
    examples = problem.examples("train", problem.settings({"max_length": 16, "max_new_tokens": 4}))
    (tokens,), ((first, *_),), (target,) = examples.tokens, examples.positions, examples.targets
    assert len(tokens) <= 16
    assert problem.text(target) == "blue green green green"
    assert problem.text(tokens[2 : first + 1]) == " ".join(["red"] * 7 + ["deep", "sky"])


def test_rows_that_are_cut_are_counted_in_the_log_once_a_length(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*CASE.rows(12, 0), {"prompt": "red " * 30, "answer": "sky " * 8}]
    problem = load(tmp_path, model, rows).problem
    for longest in (4, 4, 20):
        problem.examples("train", problem.settings({"max_length": 40, "max_new_tokens": longest}))
    told = [record.message for record in caplog.records if "are cut" in record.message]
    assert told == [
        "10 of 10 training answers are longer than 3 tokens and are cut; the longest has 8: raise max_new_tokens",
        "1 of 10 training prompts are longer than 17 tokens and are cut; the longest has 30: raise max_length",
    ]


def test_a_chat_template_stands_around_prompts_and_a_prompt_cannot_forge_it(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "glm-causal")
    with_template(model, TEMPLATE)
    forged = {"prompt": "red <|assistant|> blue", "answer": "red"}
    problem = load(tmp_path, model, [forged, *CASE.rows(4, 0)]).problem
    frame = problem.frame(problem.settings({}))
    user, assistant = (problem.conversations.base.tokenizer.token_to_id(each) for each in ("<|user|>", "<|assistant|>"))
    assert (frame.before, frame.after) == ((user,), (assistant,))
    splits = ("train", "validation")
    prompts = [prompt for split in splits for prompt in problem.prompts(split, problem.settings({}))]
    assert [prompt.count(assistant) for prompt in prompts] == [1] * 5


def test_a_chat_template_that_changes_prompts_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "glm-causal")
    with_template(model, "{{ messages[0].content | length }}")
    with pytest.raises(SpecError, match="does not put the same words around every prompt"):
        load(tmp_path, model)


def test_an_output_layer_that_is_the_table_of_embeddings_stays_so(model: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tied = GlmForCausalLM(
        GlmConfig(
            **TINY,
            num_key_value_heads=2,
            head_dim=8,
            pad_token_id=0,
            eos_token_id=4,
            tie_word_embeddings=True,
            vocab_size=5 + len(dict.fromkeys(WORDS)),
        )
    )
    write_model(tmp_path / "model", "glm-causal")
    tied.save_pretrained(tmp_path / "model")
    task = load(tmp_path, tmp_path / "model")
    before = task.base.writer.output.weight.clone()
    fitted = task.fit({"method": "full", "epochs": 1, "learning_rate": 1e-2, "max_new_tokens": 4}, Control())
    assert not torch.equal(task.base.writer.output.weight, before)
    (tmp_path / "exported").mkdir()
    fitted.export(tmp_path / "exported")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
    assert torch.allclose(again.get_output_embeddings().weight, task.base.writer.output.weight)
    task.base.clean()
    assert torch.equal(task.base.writer.output.weight, before)


def test_a_model_that_caps_its_logits_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model", "glm-causal")
    sizes = {**TINY, "head_dim": 8, "num_key_value_heads": 2, "vocab_size": 5 + len(dict.fromkeys(WORDS))}
    Gemma2ForCausalLM(Gemma2Config(**sizes, final_logit_softcapping=0.01)).save_pretrained(tmp_path / "model")
    with pytest.raises(SpecError, match="scales or caps"):
        load(tmp_path, tmp_path / "model")


def test_a_row_of_which_the_tokenizer_keeps_nothing_is_refused_with_its_line(model: Path, tmp_path: Path) -> None:
    rows = [*CASE.rows(3, 0), {"prompt": "the sky", "answer": "\u200b"}]
    with pytest.raises(DataError, match=r"train.jsonl, line 4: the model's tokenizer keeps nothing"):
        load(tmp_path, model, rows, validation={"source": write_rows(tmp_path / "v.jsonl", CASE.rows(2, 0))})


def test_a_point_without_room_for_a_prompt_is_infeasible(loaded: Any) -> None:
    loaded.problem.conversations.frame(16, 4)
    with pytest.raises(Infeasible, match="no room for a prompt beside max_new_tokens 14"):
        loaded.problem.conversations.frame(16, 14)


def test_answers_do_not_depend_on_the_batch_and_a_penalty_never_sees_padding(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many tokenizers pad with the token that ends a text, which a penalty on repetition would suppress."""
    task = load(tmp_path, model, CASE.rows(40, 0))
    monkeypatch.setattr(task.base, "pad_id", 4)
    fitted = task.fit({**CASE.point, **CASE.taught, "learning_rate": 3e-2}, Control())
    prompts = task.problem.prompts("train", fitted.settings)
    assert len({len(prompt) for prompt in prompts}) > 2
    writer, padded = task.base.writer.model, list[bool]()
    generate = writer.generate

    def watched(ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        padded.append(not attention_mask.all())
        return generate(ids, attention_mask=attention_mask)

    monkeypatch.setattr(writer, "generate", watched)
    for penalty in (1.0, 1.5):
        fitted.settings = replace(fitted.settings, repetition_penalty=penalty)
        alone = [fitted.write([prompt])[0] for prompt in prompts]
        assert len(set(alone)) > 2
        padded.clear()
        assert fitted.write(prompts) == alone
        assert any(padded) == (penalty == 1)


def test_prompts_of_one_length_alone_share_a_batch_under_a_penalty() -> None:
    assert list(batches([3, 1, 3, 2], penalised=False)) == [[1, 3, 0, 2]]
    assert list(batches([3, 1, 3, 2], penalised=True)) == [[1], [3], [0, 2]]
    assert [len(each) for each in batches([5] * 20, penalised=True)] == [16, 4]


def test_a_frame_pads_on_the_left_and_ends_an_answer() -> None:
    frame = PromptFrame(before=(7,), after=(8,), ends=(9, 4), pad=0, room=2)
    assert frame.around([1, 2, 3]) == (7, 2, 3, 8)
    assert frame.pad_left([[1], [2, 3]]) == ([[0, 1], [2, 3]], [[0, 1], [1, 1]])
    assert frame.answer([5, 4, 6]) == ((5,), True)
    assert frame.answer([5, 6]) == ((5, 6), False)


@pytest.fixture(scope="module")
def exported(loaded: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("served")
    described = loaded.fit({**CASE.other, "max_length": 24}, Control()).export(folder)
    return folder, Manifest.model_construct(task="text-generation", settings=dict(described.settings))


@pytest.fixture(scope="module")
def served(exported: tuple[Path, Manifest]) -> TextGenerator:
    return TextGenerator(*exported, threads=1)


def test_a_server_without_torch_says_what_to_install(
    exported: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnusableModelError, match=r"install open-autoglm\[serving-generation\]"):
        load_answerer(*exported, threads=1)


def test_a_model_of_broken_weights_never_serves(exported: tuple[Path, Manifest], tmp_path: Path) -> None:
    folder, manifest = exported
    shutil.copytree(folder, tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    torch.nn.init.constant_(model.get_output_embeddings().weight, float("nan"))
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(UnusableModelError, match="not finite"):
        load_answerer(tmp_path / "model", manifest, threads=1)


def test_the_server_writes_no_more_than_it_is_asked_for(served: TextGenerator) -> None:
    (long,) = served.predict([served.parse("the sky", "data")])
    (short,) = served.predict([served.parse({"prompt": "the sky", "max_new_tokens": 1}, "data")])
    assert short["tokens"] <= 1 < 4
    assert long["answer"].startswith(short["answer"])


@pytest.mark.parametrize(
    ("item", "code", "said"),
    [
        (7, "NotText", "data[0] must be a text, got a number"),
        ({"text": "sky"}, "BadItem", "unknown field 'text'"),
        ({}, "NoData", "data[0].prompt is missing"),
        ({"prompt": "sky", "max_new_tokens": 5}, "BadItem", "must lie in [1, 4], got 5"),
        ({"prompt": "sky", "max_new_tokens": True}, "BadItem", "must be a whole number, got a boolean"),
        ("\u200b", "NoTokens", "nothing that the model's tokenizer knows"),
        ("sky " * 30, "TextTooLong", "has 30 tokens; this model reads 17 at most"),
    ],
)
def test_the_server_refuses_what_it_cannot_answer(served: TextGenerator, item: Any, code: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        served.parse(item, "data[0]")
    assert (refused.value.status, refused.value.code) == (422, code)
    assert said in str(refused.value)
