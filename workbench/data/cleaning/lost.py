"""The first records that a step dropped, as they were before it: what its rules are measured on."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.data.cleaning.items import Item

MOST = 400


def lost_items(folder: Path, reason: str = "") -> list[Item]:
    """At most `MOST` records from a step's logs, of one reason or any; all their texts as one."""
    found: list[Item] = []
    wanted = pc.field("action") == "dropped"
    if reason:
        wanted &= pc.field("reason") == reason
    for path in sorted(folder.glob("*.parquet")):
        rows = pq.read_table(path, columns=["before", "where"], filters=wanted)
        for row in rows.slice(0, MOST).to_pylist():
            if row["before"] is not None:
                found.append(Item({"text": row["before"]}, "text", where=row["where"]))
        if len(found) >= MOST:
            break
    return found[:MOST]
