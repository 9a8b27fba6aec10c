"""The same checks on transformers 4.57, in a process of their own; skipped unless `MINISERIES_TRANSFORMERS_4` is set.

`tests/core/publishing/test_card_snippets.py` runs what cards tell their readers to paste in the same folder.

Its pins contradict those of this project, so it lives in a folder beside it, which the variable names:

    pip install --target FOLDER --no-deps transformers==4.57.6 tokenizers==0.22.2 huggingface_hub==0.36.2
    MINISERIES_TRANSFORMERS_4=FOLDER pytest tests/core/export/test_transformers_4.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("MINISERIES_TRANSFORMERS_4", "")
ROOT = Path(__file__).parents[3]
CHECKS = ("test_transformers.py", "test_certificate.py", "test_engines.py")


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="MINISERIES_TRANSFORMERS_4 names no folder with transformers 4.57")
@pytest.mark.parametrize("checks", CHECKS)
def test_what_holds_on_transformers_5_holds_on_4(checks: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([FOLDER, str(ROOT)])}
    version = "import transformers; print(transformers.__version__)"
    said = subprocess.run([sys.executable, "-c", version], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("4.57"), said.stdout
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", f"tests/core/export/{checks}"]
    finished = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert finished.returncode == 0, finished.stdout[-5000:]
