"""Paths of the files that a build, repair or copy keeps beside the shards while it runs."""

from typing import Final

STATE: Final = "_build/"
PLAN: Final = STATE + "plan.json"
JOURNAL: Final = STATE + "repair.json"
RUN: Final = STATE + "run"
COPY: Final = STATE + "copy.json"
