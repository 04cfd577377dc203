"""The first records that a step dropped, as they were before it: what its rules are measured on."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from workbench.data.cleaning.items import Item

MOST = 400


def lost_items(folder: Path) -> list[Item]:
    """At most `MOST` records from a step's logs; all their texts as one."""
    found: list[Item] = []
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path, columns=["action", "before", "where"]).slice(0, MOST).to_pylist():
            if row["action"] == "dropped" and row["before"] is not None:
                found.append(Item({"text": row["before"]}, "text", where=row["where"]))
        if len(found) >= MOST:
            break
    return found[:MOST]
