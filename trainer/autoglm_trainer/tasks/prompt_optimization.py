"""`prompt-optimization`: no weight changes; what is searched is how the model is asked."""

from __future__ import annotations

import os

from autoglm_api.chat import find_key
from autoglm_api.run import Run
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import DataError, SpecError
from autoglm_trainer.prompting.loaded import MOST_LABELS, ROWS_A_LABEL, LoadedPrompting
from autoglm_trainer.prompting.respondent import Respondent
from autoglm_trainer.rows.prompts import Answered, load_prompts
from autoglm_trainer.rows.splits import Splits

_OF_LABELS = ("accuracy", "f1_macro")


class PromptOptimization:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedPrompting:
        """Read rows, then the model, or ask its endpoint once; see `contract.Task`."""
        splits = load_prompts(run.data, places.data, seed=run.sampler.seed)
        loaded = LoadedPrompting(
            splits=splits,
            respondent=_respondent(run, places, splits),
            metric=run.objective.metric,
            seed=run.sampler.seed,
            item_by_item="Wilcoxon" in (run.pruner.type, run.pruner.wraps),
            time_every_recipe="latency_p95_ms" in run.judged,
            endpoint=run.model.endpoint if run.model else None,
        )
        if not loaded.labels and (asked := [metric for metric in _OF_LABELS if metric in run.judged]):
            different = len({row.answer for row in splits.train})
            raise DataError(
                f"{splits.train.source}: {asked[0]} needs answers that are labels, and {len(splits.train)} rows have"
                f" {different} different ones (at most {MOST_LABELS}, each in {ROWS_A_LABEL} rows on average);"
                " judge by exact_match or rouge_l instead"
            )
        return loaded


def _respondent(run: Run, places: Places, splits: Splits[Answered]) -> Respondent:
    assert run.model is not None, "the door refuses a study without a model"
    if run.model.endpoint is not None:
        from autoglm_trainer.prompting.remote import Endpoint

        try:
            key = find_key(places.model_credentials, os.environ)
        except ValueError as error:
            raise SpecError(f"model.endpoint {run.model.endpoint.url}: {error}") from error
        endpoint = Endpoint(run.model.endpoint, key)
        endpoint.probe(counts="prompt_tokens" in run.judged)
        return endpoint
    # Seconds of import, which an endpoint's workers need not pay.
    from autoglm_trainer.model.base import load_model
    from autoglm_trainer.prompting.local import LocalModel
    from autoglm_trainer.tokens.prompts import Conversations

    base = load_model(run.model, places, writes=True, trained=False)
    conversations = Conversations(base, splits)
    conversations.check()
    writer = conversations.writer
    around = conversations.frame(base.max_tokens, 1)
    half = None if base.is_float32 else base.half
    return LocalModel(writer.model, base.tokenizer, around, base.max_tokens, half=half, written=writer.tokenizer)
