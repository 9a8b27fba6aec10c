"""What people read about finished work that a changed recipe leaves behind, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from core.planning.cost import written_hours
from core.planning.revision import Superseded, causes_together
from core.planning.title import title
from flows.console import listing


def show_superseded(found: Sequence[Superseded], out: Console) -> None:
    """Print what would be made again, what it took, and which changes do it; nothing when `found` is empty."""
    if not found:
        return
    hours = sum(one.gpu_hours for one in found)
    out.print(f"Finished work of an earlier revision that would be made again ({written_hours(hours)} GPU-hours):\n")
    table = listing("  stage", "finished as", "to be made as", "GPU-hours>")
    for one in found:
        spent = written_hours(one.gpu_hours) if one.gpu_hours else ""
        table.add_row(f"  {title(one.stage)}", one.earlier.key[:12], one.stage.key[:12], spent)
    out.print(table)
    out.print("\nbecause of:")
    for cause in causes_together(found):
        out.print(f"  {cause}", markup=False, soft_wrap=True)
    out.print("\nNothing is deleted: with the recipe as it was, the finished artifacts are found again.")
