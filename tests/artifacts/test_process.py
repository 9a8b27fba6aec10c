"""A process is dead when that is certain, and never because its id is in use or hidden."""

from __future__ import annotations

import os
import signal
import subprocess

from artifacts.process import Machine, Process, identify, provably_dead, this_machine


def test_this_process_lives_and_is_on_this_machine() -> None:
    assert not provably_dead(identify(os.getpid()))
    assert this_machine().same_as(this_machine())


def test_a_killed_process_is_dead_before_and_after_it_is_reaped() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = identify(child.pid)
    assert not provably_dead(process)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert provably_dead(process)
    child.wait()
    assert provably_dead(process)


def test_an_id_that_was_used_again_belongs_to_somebody_else() -> None:
    me = identify(os.getpid())
    assert me.started is not None
    assert provably_dead(Process(me.pid, me.started - 1))


def test_without_a_start_time_a_living_id_proves_nothing() -> None:
    assert not provably_dead(Process(os.getpid(), None))


def test_machines_without_a_known_boot_are_never_the_same() -> None:
    assert not Machine("host", "").same_as(Machine("host", ""))
    assert not Machine("host", "boot pid:[1]").same_as(Machine("host", "boot pid:[2]"))
