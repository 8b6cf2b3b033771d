"""`tabular-classification` and `tabular-regression`: a class or a number for each row of a table."""

from __future__ import annotations

from autoglm_api.catalog.tabular import TABULAR_CLASSIFICATION, TABULAR_REGRESSION
from autoglm_api.run import Run
from autoglm_trainer.contract import Places
from autoglm_trainer.rows.tables import load_table
from autoglm_trainer.tables.answers import Classes, Numbers
from autoglm_trainer.tables.table import type_table
from autoglm_trainer.tables.task import LoadedTable


class TabularClassification:
    """Classes."""

    def load(self, run: Run, places: Places) -> LoadedTable:
        """Read and type the rows; see `contract.Task`."""
        roles = TABULAR_CLASSIFICATION.named_columns(run.data.columns)
        rows = load_table(run.data, places.data, roles=roles, answer="label", seed=run.sampler.seed)
        answers = Classes.of(rows)
        return LoadedTable(type_table(rows), answers, run.objective.metric)


class TabularRegression:
    """Numbers."""

    def load(self, run: Run, places: Places) -> LoadedTable:
        """Read and type the rows; see `contract.Task`."""
        roles = TABULAR_REGRESSION.named_columns(run.data.columns)
        rows = load_table(run.data, places.data, roles=roles, answer="target", seed=run.sampler.seed)
        answers = Numbers.of(rows)
        return LoadedTable(type_table(rows), answers, run.objective.metric)
