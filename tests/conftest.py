"""Settings of the whole suite: property tests never fail because a busy machine was slow."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
