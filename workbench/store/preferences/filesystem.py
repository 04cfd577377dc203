"""Which file system a path lies on: SQLite's write-ahead log needs memory that all its users share."""

from __future__ import annotations

import re
from pathlib import Path

NETWORK_TYPES = frozenset(
    (
        *(
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "glusterfs",
            "gpfs",
            "lustre",
            "ncpfs",
            "nfs",
            "nfs4",
        ),
        *("orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
        *("fuse.ceph", "fuse.ceph-fuse", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs"),
        *("wekafs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.weed"),
    )
)
"""Types as `/proc/mounts` names them, whose files processes on other hosts may have open too."""


def file_system_of(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that holds a path, `""` where the system does not tell.

    `mounts` is a table in the format of `/proc/mounts`, which is read where none is given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(errors="surrogateescape")
        except OSError:
            return ""
    place = path.absolute().resolve()
    found, length = "", -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        # The last of several mounted at one point is the one that is seen.
        if place.is_relative_to(point) and len(point.parts) >= length:
            found, length = fields[2], len(point.parts)
    return found


def is_network(kind: str) -> bool:
    """Whether files of this type may be open on several hosts at once."""
    return kind.casefold() in NETWORK_TYPES


def _unescaped(text: str) -> str:
    """A field of the table of mounts: blanks and backslashes stand there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
