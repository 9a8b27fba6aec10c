"""A real Slurm on this machine: munge, one controller, several nodes, all in one folder, on ports of their own.

The nodes have two GPUs each as far as Slurm knows. There is no accounting database, so no sacct. A requeued job begins
again after `cred_expire` seconds, of which 5 are the fewest: with less, Slurm takes its default of two minutes.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from running import end_family, wait_until

DAEMONS = ("munged", "slurmctld", "slurmd")
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOG_LINES = 20
PATH = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/sbin"

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000,sched_interval=1,batch_sched_delay=0
KillWait=20
MinJobAge=3600
OverTimeLimit=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
DefMemPerCPU=500
PartitionName=gpu Nodes=ALL Default=YES DefaultTime=10 State=UP
"""


def lacking() -> list[str]:
    """The daemons that are not installed here."""
    return [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=PATH) is None]


@dataclass
class SlurmCluster:
    """A running cluster; its commands work with `environment`."""

    folder: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _controller: ExitStack = field(default_factory=ExitStack)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to talk to it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def ask(self, *command: str) -> str:
        """The output of one of Slurm's commands."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self) -> dict[int, str]:
        """The state of every job that was ever submitted, by number."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines()
        return {int(number): state for number, state in (line.split() for line in lines)}

    def shown(self, job: int) -> dict[str, str]:
        """What `scontrol show job` says."""
        words = self.ask("scontrol", "--oneliner", "show", "job", str(job)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_until(self, condition: Callable[[], Any]) -> Any:
        """`running.wait_until`, which fails at once, with the ends of all logs, when a daemon has ended."""

        def look() -> Any:
            ended = [process.args for process in self.daemons if process.poll() is not None]
            assert not ended, f"{ended} ended: {self._logs()}"
            return condition()

        return wait_until(look)

    def _logs(self) -> str:
        ends = (path.read_text(errors="replace").splitlines()[-LOG_LINES:] for path in self.folder.glob("*.log"))
        return "\n".join(line for lines in ends for line in lines)

    @contextmanager
    def controller(self) -> Iterator[None]:
        """Run the controller, which may be stopped and started meanwhile."""
        with self._controller:
            self._start_controller()
            yield

    @contextmanager
    def without_controller(self) -> Iterator[None]:
        """The controller is gone while the block runs, and then comes back to what it knew."""
        self._controller.close()
        yield
        self._start_controller()
        self.wait_until(lambda: _idle_nodes(self) is not None)

    def end_jobs(self) -> None:
        """Cancel every job and wait until none is left."""
        self.ask("scancel", f"--user={getpass.getuser()}")
        self.wait_until(lambda: not self.ask("squeue", "--noheader"))

    def _start_controller(self) -> None:
        self._controller.enter_context(_daemon(self, "slurmctld", "-D", "-f", f"{self.folder}/slurm.conf"))


@contextmanager
def running_slurm(folder: Path, nodes: int = 2) -> Iterator[SlurmCluster]:
    """Start it, wait until the nodes are idle; on leaving, end every daemon and every job."""
    cluster = SlurmCluster(folder)
    _configure(cluster, nodes)
    with ExitStack() as ending:
        ending.callback(_end_orphans, cluster)
        ending.enter_context(_daemon(cluster, "munged", "--foreground", "--force", *_munge_files(folder / "munge")))
        cluster.wait_until((folder / "munge" / "socket").exists)
        ending.enter_context(cluster.controller())
        for index in range(1, nodes + 1):
            ending.enter_context(_daemon(cluster, "slurmd", "-D", "-N", f"n{index}", "-f", f"{folder}/slurm.conf"))
        cluster.wait_until(lambda: _idle_nodes(cluster) == nodes)
        yield cluster


@contextmanager
def _daemon(cluster: SlurmCluster, name: str, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen(
        [str(shutil.which(name, path=PATH)), *arguments],
        env={**os.environ, **cluster.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    cluster.daemons.append(process)
    try:
        yield
    finally:
        cluster.daemons.remove(process)
        process.terminate()  # the controller saves what it knows
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        if process.poll() is None:
            end_family(psutil.Process(process.pid))
        process.wait()


def _port_of_a_daemon() -> int:
    """A free port that the kernel gives to no connection: one of a server that waits could be taken meanwhile."""
    first = int(EPHEMERAL.read_text().split()[0])
    while True:
        port = 10_000 + secrets.randbelow(first - 10_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _munge_files(folder: Path) -> list[str]:
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder / name}" for option, name in files.items()]


def _configure(cluster: SlurmCluster, nodes: int) -> None:
    folder = cluster.folder
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge" / "key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge" / "key").chmod(0o400)
    host, names = socket.gethostname().split(".")[0], [f"n{index}" for index in range(1, nodes + 1)]
    text = CONFIGURATION.format(host=host, port=_port_of_a_daemon(), user=getpass.getuser(), folder=folder)
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={_port_of_a_daemon()} "
        "CPUs=4 RealMemory=4000 Gres=gpu:2"
        for name in names
    ]
    head, _, partitions = text.partition("PartitionName")
    (folder / "slurm.conf").write_text(head + "\n".join(lines) + "\nPartitionName" + partitions)
    devices = ("/dev/null", "/dev/zero")  # any character devices: Slurm only counts them
    (folder / "gres.conf").write_text(
        "".join(f"NodeName={name} Name=gpu File={device}\n" for name in names for device in devices)
    )


def _idle_nodes(cluster: SlurmCluster) -> int | None:
    """How many nodes have nothing to do; None while the controller gives no answer."""
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=gpu", "--format=%T"],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split().count("idle") if done.returncode == 0 else None


def _end_orphans(cluster: SlurmCluster) -> None:
    """Kill what jobs left behind: they are no children of the daemons any more."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURM_CONF") == cluster.environment["SLURM_CONF"] and process.pid != os.getpid():
                process.kill()
