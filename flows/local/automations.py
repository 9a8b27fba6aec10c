"""What the server does by itself when a flow run of ours dies without saying so; tested end to end (facts, 3.4).

1. A run whose heartbeat stays away is Crashed: its machine or its processes are gone; it would say Running for ever.
2. A run that crashed is tried again, and continues from its checkpoints. A crash that comes back ends by the guard in
   the flows themselves, which refuse after a few attempts.

Both are limited to runs with the tag `miniseries`, so that other flows on the same server are left alone. The first
relies on the heartbeat that our pools ask for, three of which must be missed; the second leaves out the jobs of the
GPU pool, since the pipeline that waits for one starts the next attempt itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flows.local.pools import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

MISSED_HEARTBEATS = 3
TAG = "prefect.tag.miniseries"
GPU_JOB = "gpu-job"  # name of the flow


def install_automations(client: SyncPrefectClient) -> list[str]:
    """Make the server's automations of these names be these; return the names."""
    wanted = automations()
    for automation in wanted:
        there = client.read_automations_by_name(automation.name)
        for surplus in there[1:]:  # two machines were the first at the same time
            client.delete_automation(surplus.id)
        if not there:
            client.create_automation(automation)
        elif _content(there[0]) != _content(automation):  # an update forgets what it has seen of living runs
            client.update_automation(there[0].id, automation)
    return [automation.name for automation in wanted]


def _content(automation: AutomationCore) -> dict[str, Any]:
    """What we decide of it; whether it is enabled is for people to decide."""
    return automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"})


def automations() -> list[AutomationCore]:
    """The two of them."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    ours = ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": TAG})
    flow = ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": f"!{GPU_JOB}"})
    every_run = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    lost = AutomationCore(
        name="miniseries: a run without heartbeat has crashed",
        description="its machine or its processes are gone; without this it would say Running for ever",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=every_run,
            match_related=[ours],
            for_each={"prefect.resource.id"},
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            within=timedelta(seconds=HEARTBEAT_SECONDS * MISSED_HEARTBEATS),
            threshold=1,
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                force=False,
                message="no heartbeat: its processes or their machine are gone",
            )
        ],
    )
    crashed = AutomationCore(
        name="miniseries: a run that crashed is tried again",
        description="it continues from its checkpoints; flows refuse after a few attempts",
        trigger=EventTrigger(
            posture=Posture.Reactive,
            match=every_run,
            match_related=[ours, flow],
            for_each={"prefect.resource.id"},
            expect={"prefect.flow-run.Crashed"},
            within=timedelta(seconds=0),
            threshold=1,
        ),
        actions=[
            ChangeFlowRunState(
                name="AwaitingRetry",
                state=StateType.SCHEDULED,
                force=False,
                message="crashed; continues from its checkpoints",
            )
        ],
    )
    return [lost, crashed]
