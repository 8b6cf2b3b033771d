"""`tabular-classification` and `tabular-regression`: a class or a number for each row of a table."""

from __future__ import annotations

from autoglm_api.catalog.tabular import TABULAR_CLASSIFICATION, TABULAR_REGRESSION
from autoglm_api.run import Run
from autoglm_trainer.contract import Places
from autoglm_trainer.rows.tables import TableRows, load_table
from autoglm_trainer.tables.answers import Answers, Classes, Numbers
from autoglm_trainer.tables.table import type_table
from autoglm_trainer.tables.task import LoadedTable


class TabularClassification:
    """Classes."""

    def load(self, run: Run, places: Places) -> LoadedTable:
        """Read and type the rows; see `contract.Task`."""
        roles = TABULAR_CLASSIFICATION.named_columns(run.data.columns)
        rows = load_table(run.data, places.data, roles=roles, answer="label", seed=run.sampler.seed)
        return _loaded(rows, Classes.of(rows), run)


class TabularRegression:
    """Numbers."""

    def load(self, run: Run, places: Places) -> LoadedTable:
        """Read and type the rows; see `contract.Task`."""
        roles = TABULAR_REGRESSION.named_columns(run.data.columns)
        rows = load_table(run.data, places.data, roles=roles, answer="target", seed=run.sampler.seed)
        return _loaded(rows, Numbers.of(rows), run)


def _loaded(rows: TableRows, answers: Answers, run: Run) -> LoadedTable:
    for metric in run.judged:
        answers.check_measurable(metric)
    return LoadedTable(type_table(rows), answers, run.objective.metric, run.sampler.seed)
