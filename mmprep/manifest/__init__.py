"""The manifest: one row for each clip, and the CSV file that holds the rows."""

from mmprep.manifest.csv_file import read_csv, write_csv
from mmprep.manifest.rows import (
    KEY_LENGTH,
    SOURCES,
    SPLITS,
    TEXTS,
    Listed,
    Question,
    Row,
    Voice,
    check_rows,
    leads_outside,
    safe_key,
    source_file,
    target_faults,
)

__all__ = [
    "KEY_LENGTH",
    "SOURCES",
    "SPLITS",
    "TEXTS",
    "Listed",
    "Question",
    "Row",
    "Voice",
    "check_rows",
    "leads_outside",
    "read_csv",
    "safe_key",
    "source_file",
    "target_faults",
    "write_csv",
]
