"""Which parts of the distribution are installed. The command line alone is small; training and serving are extras."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from .errors import UsageError

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "trainer": ("optuna", "sqlalchemy", "torch", "transformers", "peft"),
    "serving": ("onnxruntime", "fastapi", "uvicorn", "tokenizers"),
}


def require(*extras: str) -> None:
    """Refuse to go on without these extras.

    Raises:
        UsageError: with the missing packages and the command that installs them.
    """
    missing = [package for extra in extras for package in _NEEDS[extra] if find_spec(package) is None]
    if missing:
        wanted = ",".join(extras)
        raise UsageError(f"needs {', '.join(missing)}; install with: pip install 'open-autoglm[{wanted}]'")
