"""A process is recognised by more than its id."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

from workbench.store.process import ProcessIdentity, boot_id


def test_this_process_is_alive() -> None:
    assert ProcessIdentity.current().liveness() == "alive"


def test_a_used_again_id_another_boot_and_another_host_are_told_apart() -> None:
    me = ProcessIdentity.current()
    assert dataclasses.replace(me, start=me.start - 1).liveness() == "gone"
    assert dataclasses.replace(me, boot="another").liveness() == "gone"
    assert dataclasses.replace(me, host="another.example").liveness() == "elsewhere"
    assert boot_id() == me.boot


def test_a_zombie_is_gone() -> None:
    code = "from workbench.store.process import ProcessIdentity as P; import json, dataclasses; "
    code += "print(json.dumps(dataclasses.asdict(P.current())), flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    import json

    identity = ProcessIdentity(**json.loads(child.stdout.readline()))
    assert identity.liveness() == "alive"
    child.stdin.close()
    # The pipe closes when the process has ended; it is not waited for yet, so it is a zombie or gone.
    assert child.stdout.read() == ""
    child.stdout.close()
    while identity.liveness() == "alive":
        pass
    child.wait()
    assert identity.liveness() == "gone"
