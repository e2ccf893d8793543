import sys
from pathlib import Path

for folder in ("bench", "simulate"):
    sys.path.append(str(Path(__file__).parents[2] / "scripts" / folder))
