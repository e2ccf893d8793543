"""Names of the files that a build keeps beside its shards, below ``_build/``."""

from typing import Final

STATE: Final = "_build/"
PLAN: Final = STATE + "plan.json"
JOURNAL: Final = STATE + "repair.json"
RUN: Final = STATE + "run"
COPY: Final = STATE + "copy.json"
