"""Everything that touches Optuna's storage and is needed by more than one process: claim, ledger, retries, sampling."""
