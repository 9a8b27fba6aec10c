"""`miniseries chat` as a process: once, in a pipe, and at a real terminal with Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from reciting import alphabet, reciting_store
from running import PROGRAM, ROOT, Miniseries

from flows.command_line import app, guarded

GREEDY = ("--temperature", "0", "--tokens", "5")


@pytest.fixture(scope="module")
def miniseries(tmp_path_factory: pytest.TempPathFactory) -> Miniseries:
    """The command line against a store of models that say the alphabet."""
    home = tmp_path_factory.mktemp("chat")
    return Miniseries(home, reciting_store(home))


def chat(
    miniseries: Miniseries, *arguments: str, given: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end with this standard input."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), "chat", *arguments],
        cwd=ROOT,
        env=miniseries.environment_for(environment),
        input=given,
        capture_output=True,
    )


def test_a_pipe_is_a_conversation(miniseries: Miniseries) -> None:
    done = chat(miniseries, "tiny", *GREEDY, given="one\n/tokens 3\nzwei ☕\n".encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"abcde\nabc\n", b"")


def test_a_terminal_without_the_characters_gets_the_rest(miniseries: Miniseries) -> None:
    done = chat(miniseries, "tiny_drope_50", "--temperature", "0", "-p", "x", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf??\n", b"")


def test_one_message_can_come_from_standard_input(miniseries: Miniseries) -> None:
    backward = ("tiny-bidirectional", *GREEDY, "--direction", "backward")
    done = chat(miniseries, *backward, "-p", "-", given=b"a\n/quit\nxyz")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"fedcb\n", b"")


@pytest.fixture
def in_process(miniseries: Miniseries, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same store for a command line in this process."""
    monkeypatch.setenv("MINISERIES_STORE", miniseries.store)


@pytest.mark.parametrize(
    ("arguments", "code", "output", "said"),
    [
        (["tiny", "-p", "hello", *GREEDY], 0, "abcde\n", ""),
        (["tiny_bidirectional", "-p", "xyz", *GREEDY], 0, "abcde\n", ""),
        (["tiny_bidirectional", "-p", "abc", *GREEDY, "--direction", "backward"], 0, "fedcb\n", ""),
        (["tiny", "-p", "x" * 5000], 1, "", "the prompt has at least 5,002 tokens"),
        (["tiny", "-p", "x", "--direction", "backward"], 1, "", "tiny reads forward, not backward"),
        (["tiny_long", "-p", "x"], 1, "", "run `miniseries run tiny_long`"),
        (["tiny_bidirectional", "--phase", "sft", "-p", "x"], 1, "", "a base model without a fine-tune"),
        (["tinny", "-p", "x"], 1, "", "did you mean tiny"),
    ],
    ids=["chat", "forward", "backward", "too-long", "no-direction", "not-made", "no-fine-tune", "unknown"],
)
def test_one_message_gets_one_answer_or_one_line(
    in_process: None, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, output: str, said: str
) -> None:
    assert guarded(lambda: app(["chat", *arguments], standalone_mode=False)) == code
    captured = capsys.readouterr()
    assert captured.out == output
    assert said in captured.err
    assert captured.err.count("\n") == (1 if said else 0)


def test_at_a_terminal_ctrl_c_stops_the_answer_and_then_leaves(miniseries: Miniseries) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "chat", "tiny", "--temperature", "0"],
        cwd=ROOT,
        env=miniseries.environment_for({"TERM": "xterm"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: at_terminal(theirs),
    )
    os.close(theirs)
    seen = Screen(ours)
    seen.wait_for("tiny chats, 4,096 tokens of context", "> ")
    os.write(ours, b"hello\n")
    seen.wait_for(alphabet(52))
    os.write(ours, b"\x03")
    seen.wait_for("stopped", "> ")
    os.write(ours, b"/temperature 0.5\n")
    seen.wait_for("temperature 0.5, top_k 50", "> ")
    seen.press_ctrl_c_until(lambda unread: "Ctrl-C again or /quit leaves" in unread)
    seen.press_ctrl_c_until(lambda _: process.poll() is not None)
    assert process.wait() == 0
    os.close(ours)


def at_terminal(descriptor: int) -> None:
    """Make it the controlling terminal; hear Ctrl-C even where the tests were started to ignore it."""
    os.close(os.open(os.ttyname(descriptor), os.O_RDWR))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Screen:
    """What a terminal was sent; each text is looked for behind the one before."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = ""

    def wait_for(self, *texts: str) -> None:
        """Read until these texts came, in this order; the end of the program before that is a failure."""
        for text in texts:
            while text not in self._unread:
                self._read()
            self._unread = self._unread.partition(text)[2]

    def press_ctrl_c_until(self, happened: Callable[[str], bool]) -> None:
        """Ctrl-C as a person does it, again after 20 s of silence: CPython's readline has a moment between its
        prompt and its select() in which one is only heard with the next key."""
        while not happened(self._unread):
            os.write(self._descriptor, b"\x03")
            while not happened(self._unread) and select.select([self._descriptor], [], [], 20)[0]:
                try:
                    self._read()
                except OSError:  # the program has left its terminal
                    return

    def _read(self) -> None:
        self._unread += os.read(self._descriptor, 65536).decode(errors="replace").replace("\r\n", "\n")
