"""The core_bundle stage: the tasks of CORE in the store: all models are asked the same, and GPU nodes fetch nothing.

Why it is a stage of its own, and pinned: keys are known before anything runs and are the same on every machine, so what
lies at some URL cannot be part of one, but a digest that was written down can. `sha256` is that of the bundle's
`content.Content`. MINISERIES_CORE_BUNDLE says where the bundle is and, as `URL#sha256=HEX`, pins it for every recipe
that asks for DCLM's bundle without naming a digest (see `core.recipes.core_bundle`). A recipe without a digest has no
such stage: its CORE is missing. Once a digest is given, the next plan has the stage, and the next run makes it; no
model is trained again. A location without a digest ends this stage at once, with the digest to write down.

The tiny family's bundle is made from its held-out text: input `corpus`.
"""

from __future__ import annotations

import os

from core.evaluation.core_metric.bundle import Bundle
from core.evaluation.core_metric.content import Content
from core.evaluation.core_metric.source import fetch_bundle
from core.evaluation.core_metric.synthetic import write_synthetic
from core.recipes.core_bundle import UNPINNED, VARIABLE, bundle_url
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import CoreBundleIdentity


def produce(context: StageContext[CoreBundleIdentity]) -> Metrics:
    """Write a bundle; raise `StageError` when it is not there, not whole, or not the one that the recipe names."""
    identity = context.identity
    if identity.bundle == "synthetic":
        assert identity.shard is not None
        assert identity.examples is not None
        assert identity.seed is not None
        write_synthetic(context.inputs["corpus"], identity.shard, identity.examples, identity.seed, context.output)
    else:
        _fetch(context)
    bundle = Bundle.read(context.output)
    counts = {task.label: len(bundle.examples(task)) for task in bundle.present}
    for label in bundle.missing:
        context.report.log(f"{label} is missing: the bundle has no data of it")
    return {
        "tasks": len(counts),
        "examples": sum(counts.values()),
        "missing": list(bundle.missing),
        "sha256": Content.of(context.output).sha256,
    }


def _fetch(context: StageContext[CoreBundleIdentity]) -> None:
    url, pinned = bundle_url(os.environ), context.identity.sha256
    if url is None:
        raise StageError(f"the recipe asks for CORE: set {VARIABLE} to the folder, s3:// prefix or .zip of its bundle")
    fetch_bundle(url, context.output, lambda done, total: context.report.progress(done, total, "tasks"))
    found = Content.of(context.output).sha256
    if pinned == UNPINNED:
        raise StageError(f"the bundle at {url} is not pinned; set {VARIABLE}={url}#sha256={found}")
    if found != pinned:
        raise StageError(f"the bundle at {url} has sha256 {found}, the recipe says {pinned}; correct one of them")
