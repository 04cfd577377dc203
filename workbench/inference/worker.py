"""The process of an engine: loads, listens, serves, and says in its folder what it is at."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from workbench.errors import ServerError, WorkbenchError
from workbench.inference.options import add_model_options
from workbench.store import engines
from workbench.store.process import ProcessIdentity

log = logging.getLogger(__name__)

GRACE_SECONDS = 3
"""How long answers may still be written after the process was told to end."""


def main(arguments: list[str] | None = None) -> int:
    """Load and serve. Returns the exit status; an error is one clear text on standard error."""
    parser = argparse.ArgumentParser(prog="python -m workbench.inference")
    parser.add_argument("model")
    parser.add_argument("--engine", help="the folder under engines/ to report in")
    parser.add_argument("--socket")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--idle-minutes", type=float)
    add_model_options(parser)
    args = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    report = Report(args)
    try:
        listener = listen(args.socket, args.host, args.port)
        report.tell("loading", f"loading {args.model}")
        share_cores()
        # Heavy imports, and only now: whoever waits sees first that something is going on.
        from transformers.utils import logging as messages

        from workbench.inference.server.opening import open_service

        messages.set_verbosity_error()
        messages.disable_progress_bar()

        service = open_service(args, report.say)
        report.details = service.details
        asyncio.run(serve(service, listener, args, report))
    except KeyboardInterrupt:
        report.tell("ended", "interrupted")
        return 130
    except WorkbenchError as error:
        report.fail(error)
        print(error.render(), file=sys.stderr)
        return error.exit_code
    except Exception as error:
        log.exception("the engine failed")
        report.fail(ServerError(f"{type(error).__name__}: {error}", where=args.model))
        return 1
    finally:
        if args.socket:
            Path(args.socket).unlink(missing_ok=True)
    report.tell("ended", report.why)
    return 0


def share_cores() -> None:
    """Let torch's threads sleep when they have nothing to do. To be called before torch is imported.

    They spin for a while otherwise, on the cores that the native decode step needs: on two cores with another
    process beside, a token then took 70 ms instead of 12.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


class Report:
    """What this engine says of itself: in its folder if it has one, else on standard error."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.state = engines.read(args.engine) if args.engine else None
        if self.state is None and args.engine:
            self.state = engines.EngineState(args.engine, args.model, socket=args.socket or "")
        self.details: dict[str, Any] = {}
        self.why = "told to end"

    def say(self, message: str) -> None:
        """What it is at while it loads."""
        self.tell("loading", message)

    def tell(self, state: str, message: str) -> None:
        """A new state."""
        log.info("%s: %s", state, message)
        if self.state is not None:
            self.state.state, self.state.message = state, message
            self.state.details = self.details
            self.state.process = ProcessIdentity.current()
            self.state.write()

    def fail(self, error: WorkbenchError) -> None:
        """The end, and why."""
        if self.state is not None:
            self.state.error = error.as_dict()
        self.tell("failed", error.message)


def listen(path: str | None, host: str, port: int | None) -> socket.socket:
    """A listening socket: a Unix one that only its owner may use, or a TCP one. Raises `ServerError`."""
    where = path or f"{host}:{port}"
    try:
        if path is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port or 0))
        else:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            _remove_dead(path)
            before = os.umask(0o177)
            try:
                listener.bind(path)
            finally:
                os.umask(before)
    except OSError as error:
        hint = "choose another --port" if path is None else "choose another --socket"
        raise ServerError(f"cannot listen: {error.strerror or error}", where=where, hint=hint) from None
    listener.listen(256)
    return listener


def _remove_dead(path: str) -> None:
    """Remove a socket that nobody listens at any more; one that is alive, or another file, stays."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            Path(path).unlink(missing_ok=True)


async def serve(service: Any, listener: socket.socket, args: argparse.Namespace, report: Report) -> None:
    """Serve until told to stop, or until nobody has asked anything for long enough."""
    import uvicorn

    from workbench.inference.server.app import make_app

    app = Busy(make_app(service, os.environ.get("WORKBENCH_KEY") or None))
    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    # uvicorn ends by these signals, and then sends them again to what was there before it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: None)
    if service.engine is not None:
        service.engine.start()
    where = args.socket or "http://{}:{}/v1".format(*listener.getsockname()[:2])
    watch = asyncio.create_task(_watch_idle(app, server, args.idle_minutes, report))
    try:
        report.tell("ready", f"serving {service.name} at {where}")
        await server.serve(sockets=[listener])
    finally:
        watch.cancel()
        report.tell("stopping", report.why)
        if service.engine is not None:
            await asyncio.to_thread(service.engine.close)


class Busy:
    """Counts requests under way, and remembers when the last one ended."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.active = 0
        self.last = time.monotonic()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            await self.app(scope, receive, send)
            return
        self.active += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.active -= 1
            self.last = time.monotonic()


async def _watch_idle(app: Busy, server: Any, minutes: float | None, report: Report) -> None:
    while minutes is not None:
        await asyncio.sleep(min(10.0, minutes * 60 / 4))
        if not app.active and time.monotonic() - app.last > minutes * 60:
            report.why = f"nobody asked anything for {minutes:g} minutes"
            server.should_exit = True
            return
