"""How a run of many tags is called in the Prefect UI: by the first of them, and how many more there are."""

from __future__ import annotations

from prefect import runtime


def name_by_tags() -> str:
    """For `flow_run_name` of a flow with a parameter `tags`."""
    first, *others = runtime.flow_run.parameters["tags"]
    return f"{first} and {len(others)} more" if others else str(first)
