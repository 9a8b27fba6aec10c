"""Imports point downwards: flows > tasks > core > artifacts; no Prefect in the lower two, no torch in planning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_import_contracts_are_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_planning_loads_neither_torch_nor_prefect() -> None:
    script = (
        "import sys; from core.planning.catalogue import stages_of; stages_of('d20_40tpp_long');"
        "print(sorted({'torch', 'prefect', 'datasets', 'pyarrow'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
