"""Programs that a model wrote: right ones pass, and the others neither pass nor do harm."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from core.evaluation import program
from core.evaluation.program import Confinement, find_confinement, passes, python_program
from core.stages.context import StageError

if sys.platform != "linux":
    pytest.skip("limits are those of Linux", allow_module_level=True)

try:
    CONFINEMENT = find_confinement()
except StageError as error:
    pytest.skip(str(error), allow_module_level=True)

own_mounts = pytest.mark.skipif("--mount" not in CONFINEMENT.namespaces, reason="this system allows no mounts")

PROMPT = "from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    "
SOLUTION = "def total(numbers: List[int]) -> int:\n    return sum(numbers)\n"
CHECKS = "def check(candidate):\n    assert candidate([1, 2]) == 3\n\ncheck(total)\n"


@pytest.mark.parametrize("answer", [SOLUTION, f"Like this:\n```python\n{SOLUTION}```\nDone."], ids=["bare", "fenced"])
def test_a_right_answer_passes_with_the_imports_of_its_prompt(answer: str) -> None:
    assert passes(python_program(PROMPT, answer, CHECKS))


@pytest.mark.parametrize(
    "answer",
    [
        "def total(numbers):\n    return 0\n",
        "def total(numbers",
        "",
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "raise KeyboardInterrupt",
        "bytearray(2**30)",
        "open('large', 'wb').write(bytes(2**22))",
        "import os\nos.fork()\n" + SOLUTION,
        "import subprocess\nsubprocess.run(['true'])\n" + SOLUTION,
    ],
    ids=["wrong", "syntax", "empty", "exit", "hard exit", "interrupt", "memory", "file", "fork", "program"],
)
def test_anything_else_does_not_pass(answer: str) -> None:
    assert not passes(python_program(PROMPT, answer, CHECKS))


def test_an_endless_program_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    find_confinement()
    monkeypatch.setattr(program, "SECONDS", 1)
    assert not passes("while True:\n    pass")


def test_a_program_sees_neither_our_environment_nor_our_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_SECRET", "1")
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)
    assert passes(f"import os\nassert 'A_SECRET' not in os.environ and os.getcwd() != {here!r}")


@own_mounts
def test_a_program_sees_no_other_process() -> None:
    assert passes(
        "import os\npids = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())\nassert len(pids) <= 2"
    )


@own_mounts
def test_a_program_cannot_fill_the_disk() -> None:
    assert not passes("for number in range(64):\n    open(str(number), 'wb').write(bytes(2**19))\n")


@own_mounts
def test_a_program_finds_our_home_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(dir="/var/tmp") as home:  # not where programs run
        Path(home).chmod(0o755)
        (Path(home) / "token").write_text("secret")
        monkeypatch.setenv("HOME", home)
        find_confinement.cache_clear()
        assert passes(f"import os\nassert os.listdir({home!r}) == []")
    find_confinement.cache_clear()


def test_who_is_not_root_runs_no_program_without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    find_confinement.cache_clear()
    with pytest.raises(StageError, match="it takes user namespaces"):
        passes("pass")
    find_confinement.cache_clear()


@pytest.mark.skipif(not CONFINEMENT.namespaces, reason="this system allows no namespaces")
def test_a_program_has_no_network() -> None:
    assert passes("import socket\nassert [name for _, name in socket.if_nameindex()] == ['lo']")


def test_where_nothing_can_be_confined_no_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Confinement, "works", lambda _: False)
    find_confinement.cache_clear()
    with pytest.raises(StageError, match="programs cannot be confined here"):
        passes("pass")
    find_confinement.cache_clear()
