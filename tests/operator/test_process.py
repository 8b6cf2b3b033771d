"""The operator as a process: what it loads, and how it refuses a wrong environment."""

from __future__ import annotations

import os
import subprocess
import sys


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_operator_never_loads_torch() -> None:
    script = "import sys, autoglm_operator.main; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(run(script).stdout.split())
    assert "kopf" in loaded
    assert not loaded & {"torch", "transformers", "peft", "autoglm_trainer", "autoglm_serving"}


def test_unknown_setting_ends_it_with_a_sentence() -> None:
    done = run("import sys, autoglm_operator.main as m; sys.exit(m.main([]))", AUTOGLM_OPERATOR_RECONCILER="3")
    assert done.returncode == 64
    assert "AUTOGLM_OPERATOR_RECONCILER is not a setting" in done.stderr
    assert "Traceback" not in done.stderr
