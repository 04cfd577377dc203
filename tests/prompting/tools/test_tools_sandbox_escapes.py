"""Hostile programs: each is contained, leaves no trace outside, and never stalls the interface.

What each must not do is watched from outside: a file with a secret, a place to write, a listening socket,
a variable in this process's environment, the memory and number of the processes below this one, the time
it takes, and the longest pause of this process's event loop meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from own_children import children

from workbench.prompting.tools.python import python
from workbench.prompting.tools.sandbox import SandboxLimits
from workbench.prompting.tools.toolbox import Toolbox

LIMITS = SandboxLimits(seconds=1.0, memory=32, recursion=300, output_characters=5_000)
LONGEST_PAUSE = 0.75  # a program that held up the event loop would do so for a second or for ever
LONGEST_RUN = 15.0
MOST_MEMORY = 250 * 1024 * 1024  # of both processes; they take 45 MB for doing nothing
SECRET = "the-canary-sings-7319"

ESCAPES = {
    "read a file": "print(open({secret!r}).read())",
    "read a file through pathlib": "from pathlib import Path\nprint(Path({secret!r}).read_text())",
    "read a file relative to here": "print(open('../../../../../..' + {secret!r}).read())",
    "read the environment of the process": "print(open('/proc/self/environ').read())",
    "write a file": "open({target!r}, 'w').write('owned')",
    "write a file through pathlib": "from pathlib import Path\nPath({target!r}).write_text('owned')",
    "append to a file": "open({secret!r}, 'a').write('owned')",
    "remove a file": "import os\nos.remove({secret!r})",
    "make a folder": "import os\nos.mkdir({target!r})",
    "list a folder": "import os\nprint(os.listdir({folder!r}))",
    "a symbolic link": "import os\nos.symlink({secret!r}, {target!r})",
    "change the folder": "import os\nos.chdir({folder!r})\nprint(open('secret.txt').read())",
    "environment": "import os\nprint(os.environ['CANARY_KEY'])",
    "getenv": "import os\nprint(os.getenv('CANARY_KEY'))",
    "os.system": "import os\nos.system('touch ' + {target!r})",
    "os.popen": "import os\nos.popen('touch ' + {target!r}).read()",
    "os.execv": "import os\nos.execv('/bin/touch', ['touch', {target!r}])",
    "subprocess": "import subprocess\nsubprocess.run(['touch', {target!r}])",
    "fork": "import os\nwhile True:\n    os.fork()",
    "threads": "import threading\n[threading.Thread(target=print).start() for _ in range(1000)]",
    "multiprocessing": "import multiprocessing\nmultiprocessing.Process(target=print).start()",
    "kill the parent": "import os\nos.kill(os.getppid(), 9)",
    "signals": "import signal\nsignal.raise_signal(signal.SIGSTOP)",
    "leave the process": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "socket": "import socket\nsocket.create_connection(('127.0.0.1', {port})).send(b'hi')",
    "urllib": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}/').read()",
    "http.client": "import http.client\nhttp.client.HTTPConnection('127.0.0.1', {port}).request('GET', '/')",
    "asyncio connection": "import asyncio\nawait asyncio.open_connection('127.0.0.1', {port})",
    "asyncio subprocess": "import asyncio\nawait asyncio.create_subprocess_shell('touch ' + {target!r})",
    "ctypes": "import ctypes\nctypes.CDLL(None).system(b'touch ' + {target!r}.encode())",
    "pickle": 'import pickle\npickle.loads(b"cos\\nsystem\\n(S\'touch " + {target!r}.encode() + b"\'\\ntR.")',
    "importlib": "import importlib\nimportlib.import_module('subprocess').run(['touch', {target!r}])",
    "__import__": "__import__('os').system('touch ' + {target!r})",
    "import inside exec": "exec('import subprocess; subprocess.run([\"touch\", ' + repr({target!r}) + '])')",
    "open inside eval": "print(eval('open(' + repr({secret!r}) + ').read()'))",
    "compile": "exec(compile('open(' + repr({target!r}) + ', \"w\")', 'x', 'exec'))",
    "builtins by name": "__builtins__['open']({target!r}, 'w')",
    "builtins by attribute": "import builtins\nbuiltins.open({target!r}, 'w')",
    "globals": "print(globals()['__loader__'].get_data({secret!r}))",
    "loader": "print(__loader__.get_data({secret!r}))",
    "subclasses": "for c in ().__class__.__base__.__subclasses__():\n    print(c)",
    "mro": "print([].__class__.__mro__[-1].__subclasses__())",
    "type and mro": "print(type([]).mro()[-1].__subclasses__())",
    "getattr spelled in parts": "print(getattr(getattr('', '__cl' + 'ass__'), '__ba' + 'se__'))",
    "format strings": "print('{{0.__class__.__init__.__globals__}}'.format(print))",
    "f-strings": "print(f'{{print.__self__}}')",
    "globals of a function": "def f(): pass\nprint(f.__globals__, f.__code__, f.__closure__)",
    "globals of a built-in": "print(print.__globals__)",
    "frame of a traceback": "try: 1/0\nexcept Exception as e: print(e.__traceback__.tb_frame.f_back)",
    "frame of a generator": "g = (x for x in [1])\nprint(g.gi_frame.f_back.f_builtins)",
    "sys._getframe": "import sys\nprint(sys._getframe(0).f_back.f_globals)",
    "sys.modules": "import sys\nprint(sys.modules['os'].environ)",
    "name mangling": "class A:\n    def __init__(self):\n        self.__x = open({target!r}, 'w')\nA()._A__x",
    "a class that pretends": "class A(str):\n    __class__ = int\nopen(A({target!r}), 'w')",
    "hooks on import": "import sys\nsys.meta_path.clear()\nimport subprocess",
    "input": "print(input())",
    "breakpoint": "breakpoint()",
    "memory in a list": "x = []\nwhile True:\n    x.append('a' * 1000)",
    "memory in one string": "x = 'a' * 10**10",
    "memory by doubling": "x = 'ab'\nwhile True:\n    x += x",
    "memory in a large list": "x = [0] * 10**9",
    "memory in bytes": "x = bytes(10**10)",
    "memory in a dict": "x = {{}}\ni = 0\nwhile True:\n    x[i] = str(i) * 100\n    i += 1",
    "memory in a number": "x = 1 << (10**10)",
    "memory in padding": "print('{{:>3000000000}}'.format('x'))",
    "memory in replacements": "x = ('a' * 10**6).replace('a', 'b' * 10**6)",
    "a value that grows when it is written": "a = [1] * 1000\nb = [a] * 1000\nc = [b] * 1000\nc",
    "a value that is written as no text": "a = [1] * 1000\nb = [a] * 1000\nrepr = lambda x: [b] * 1000\n1",
    "a value for the host": "import os\na = [1] * 1000\nb = [a] * 1000\nc = [b] * 1000\nos.getenv('x', c)",
    "a value that holds itself": "a = []\na.append(a)\nb = [a, a]\na.append(b)\na",
    "a huge exponent": "9**9**9",
    "digits of a huge number": "len(str(3 ** 10**7))",
    "a huge factorial": "import math\nmath.factorial(10**7)",
    "an endless loop": "while True:\n    pass",
    "an endless loop that catches everything": "while 1:\n  try:\n    while 1: pass\n  except: pass",
    "an endless loop inside exec": "exec('while True: pass')",
    "an endless sum": "sum(range(10**13))",
    "an endless iterator": "import itertools\nsum(itertools.count())",
    "an endless comparison": "max(i * i for i in range(10**13))",
    "an endless generator": "def g():\n    while True:\n        yield 1\nfor x in g(): pass",
    "recursion": "def f(): return f()\nf()",
    "recursion in two": "f = lambda: g()\ng = lambda: f()\nf()",
    "recursion in repr": "class A:\n    def __repr__(self): return repr(self)\nA()",
    "nested brackets": "'(' * 0\n" + "(" * 5000 + "1" + ")" * 5000,
    "nested lists": "x = []\nfor i in range(10**6):\n    x = [x]\nrepr(x)",
    "nested evaluation": "eval('(' * 100000 + ')' * 100000)",
    "unary operators": "-" * 20000 + "1",
    "a flood of output": "while True:\n    print('x' * 1000)",
    "a flood of small pieces": "while True:\n    print('', end='x')",
    "a flood of one line": "print('x' * 10**7)",
    "a flood in an error": "raise ValueError('x' * 10**7)",
    "a catastrophic regular expression": "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    "a catastrophic regular expression with references": "import re\nre.match(r'(a*)*\\1b', 'a' * 5000)",
    "sleep": "import time\ntime.sleep(3600)",
    "sleep in small pieces": "import time\nwhile True:\n    time.sleep(0.05)",
    "sleep in tasks": "import asyncio\nawait asyncio.gather(*[asyncio.sleep(3600) for _ in range(100)])",
}
# These come to an end and do nothing, or the interpreter writes no more of a value than it has time for.
HARMLESS = {
    "a value that grows when it is written",
    "a value that is written as no text",
    "a value that holds itself",
    "a catastrophic regular expression",
}


@dataclass
class Outside:
    """What a program could reach if it got out."""

    folder: Path
    listener: socket.socket

    def fill(self, program: str) -> str:
        """The program with the places it tries to reach."""
        return program.format(
            secret=str(self.folder / "secret.txt"),
            target=str(self.folder / "target"),
            folder=str(self.folder),
            port=self.listener.getsockname()[1],
        )

    def is_untouched(self) -> bool:
        """Whether all is as it was, and nobody called."""
        with contextlib.suppress(BlockingIOError):
            self.listener.accept()
            return False
        secret = self.folder / "secret.txt"
        return secret.read_text() == SECRET and list(self.folder.iterdir()) == [secret]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    monkeypatch.setenv("CANARY_KEY", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Outside(folder, listener)


class Watch(threading.Thread):
    """Samples how much memory the processes below this one take, and how many there are."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.memory = 0
        self.processes = 0
        self._over = threading.Event()
        # A child that has not become another program yet shows the whole of this one's memory as its own.
        self._own = psutil.Process().cmdline()

    def run(self) -> None:
        while not self._over.wait(0.03):
            sizes = []
            for process in children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if process.cmdline() != self._own:
                        sizes.append(process.memory_info().rss)
            self.memory = max(self.memory, sum(sizes))
            self.processes = max(self.processes, len(sizes))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def test_there_are_enough_of_them() -> None:
    assert len(ESCAPES) >= 25 and set(ESCAPES) >= HARMLESS


@pytest.mark.parametrize("name", ESCAPES)
async def test_a_hostile_program_is_contained(
    name: str, outside: Outside, heartbeat: Callable[[], Any]
) -> None:
    toolbox = Toolbox([python(LIMITS)])
    await toolbox.open()
    code = json.dumps({"code": outside.fill(ESCAPES[name])})
    began = time.monotonic()
    with Watch() as watch:
        async with heartbeat() as longest:
            result = await toolbox.call("python", code)
    taken = time.monotonic() - began
    assert result.status == "failed" or name in HARMLESS, result.text
    assert SECRET not in result.text
    assert len(result.text) < 2 * LIMITS.output_characters + 500
    assert outside.is_untouched()
    assert taken < LONGEST_RUN
    assert longest[0] < LONGEST_PAUSE
    assert watch.memory < MOST_MEMORY
    assert watch.processes <= 2
    assert children(recursive=True) == []


async def test_many_hostile_programs_at_once_do_not_stall_the_interface(
    outside: Outside, heartbeat: Callable[[], Any]
) -> None:
    toolbox = Toolbox([python(LIMITS)])
    await toolbox.open()
    names = [name for name in ESCAPES if name.startswith(("memory", "an endless", "a flood", "recursion"))]
    with Watch() as watch:
        async with heartbeat() as longest:
            codes = [json.dumps({"code": outside.fill(ESCAPES[name])}) for name in names]
            results = await asyncio.gather(*(toolbox.call("python", code) for code in codes))
    assert all(result.status == "failed" for result in results)
    assert longest[0] < LONGEST_PAUSE and outside.is_untouched()
    assert watch.processes <= 2 * max(2, (os.cpu_count() or 2) // 2)
    assert children(recursive=True) == []
