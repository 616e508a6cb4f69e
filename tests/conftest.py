"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# Repeatable by default, so that a change is judged by itself; HYPOTHESIS_PROFILE=search looks further.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# What a terminal's width is, a test says itself: pipes have none (processes that run tests side by side are given 80).
os.environ.pop("COLUMNS", None)
