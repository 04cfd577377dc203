"""The terminal and the login session: what can be shown, and whether runs outlive the log-out."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from workbench import terminal as look
from workbench.cli.doctor.findings import note, ok

LEAST_COLUMNS, LEAST_LINES = 80, 24

Row = tuple[str, str, str, str]


def terminal() -> Iterator[Row]:
    """Size, colours, characters and what lies between."""
    term = os.environ.get("TERM", "")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield note("terminal", "this is none; the commands work, the interface does not")
    elif term in ("", "dumb"):
        yield note("terminal", f"TERM={term or '(not set)'}", "export TERM=xterm-256color")
    else:
        size = shutil.get_terminal_size()
        text = f"{size.columns}×{size.lines}, TERM={term}"
        if size.columns < LEAST_COLUMNS or size.lines < LEAST_LINES:
            yield note(
                "terminal", text, f"the interface is at its best from {LEAST_COLUMNS}×{LEAST_LINES} on"
            )
        else:
            yield ok("terminal", text)
    yield _colors(term)
    yield _characters()
    inside = look.multiplexer()
    if inside:
        yield ok("inside", inside)
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        yield ok("link", "SSH; over a slow one, ssh -C makes the interface quicker")


def _colors(term: str) -> Row:
    found = look.colors()
    told = f"COLORTERM={os.environ.get('COLORTERM') or '(not set)'}"
    if os.environ.get("NO_COLOR"):
        return ok("colours", "none: NO_COLOR is set")
    if found == "16":
        return note("colours", f"16 ({told})", f"if your terminal has more: export TERM={term}-256color")
    return ok("colours", f"{found} ({told})")


def _characters() -> Row:
    locale = look.locale_name() or "not set"
    if look.symbols() == "braille":
        return ok("characters", f"locale {locale}: charts in braille")
    return note(
        "characters",
        f"locale {locale}: braille may not show",
        "workbench --symbols ascii (F3 inside), or export LC_ALL=C.UTF-8 before the terminal or tmux starts",
    )


def survival() -> Iterator[Row]:
    """Whether the system ends a user's processes with the session."""
    if not Path("/run/systemd/system").exists():
        yield ok("log-out", "no systemd here; runs go on after you log out")
        return
    if not kills_user_processes(Path("/etc/systemd")):
        yield ok("log-out", "runs go on after you log out")
        return
    user = getpass.getuser()
    if Path("/var/lib/systemd/linger", user).exists():
        yield ok("log-out", "systemd ends processes at log-out, but lingering is on for you")
        return
    yield note(
        "log-out",
        "systemd is set to end your processes at log-out (KillUserProcesses=yes): runs would end too",
        f"loginctl enable-linger {user}",
    )


def kills_user_processes(folder: Path) -> bool:
    """What logind was told; the last word counts. systemd's own default is no."""
    answer = False
    for path in (folder / "logind.conf", *sorted((folder / "logind.conf.d").glob("*.conf"))):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.strip().partition("=")
            if key.strip() == "KillUserProcesses":
                answer = value.strip().lower() in ("yes", "true", "on", "1")
    return answer
