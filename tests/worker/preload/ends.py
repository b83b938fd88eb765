"""Commands that end in all the ways there are, with their exit status.

Each is run by ``told`` (``tests.samples.told``), which is preloaded, or is not.
"""

from __future__ import annotations

import signal
from textwrap import dedent
from typing import Final

ENDS: Final[dict[str, tuple[str, int]]] = {}


def _end(name: str, code: str, status: int = 0) -> None:
    ENDS[name] = (dedent(code).strip("\n"), status)


_end("its last line", "print('end')")
_end("an exit status", "import sys; sys.exit(3)", 3)
_end("an exit status that is true", "raise SystemExit(True)", 1)
_end("an exit status of None", "raise SystemExit(None)")
_end("an exit status too large", "raise SystemExit(300)", 300 & 255)
_end("an exit with words", "raise SystemExit('words')", 1)
_end(
    "an exception",
    """
    def f():
      raise ValueError('ä')
    f()
    """,
    1,
)
_end(
    "an exception with a cause",
    """
    try:
      1/0
    except Exception as e:
      raise OSError from e
    """,
    1,
)
_end("a module there is not", "import there_is_no_such_module", 1)
_end("a syntax error", "x = (", 1)
_end(
    "a hook of its own",
    """
    import sys
    sys.excepthook = lambda k, e, t: print(k, e, t.tb_frame.f_code.co_name)
    1/0
    """,
    1,
)
_end("os._exit", "import os; os._exit(5)", 5)
_end("SIGKILL", "import os; os.kill(os.getpid(), 9)", 128 + signal.SIGKILL)
_end("SIGTERM", "import os; os.kill(os.getpid(), 15)", 128 + signal.SIGTERM)
_end("SIGINT", "import os, time; os.kill(os.getpid(), 2); time.sleep(9)", 128 + signal.SIGINT)
_end("SIGPIPE, which it ignores", "import os; os.kill(os.getpid(), 13); print(1)")
_end("a fault", "import ctypes; ctypes.string_at(0)", 128 + signal.SIGSEGV)
_end(
    "exit handlers",
    """
    import atexit
    atexit.register(print, 'last')
    atexit.register(print, 'first')
    print(0)
    """,
)
_end(
    "exit handlers after an exception",
    """
    import atexit
    atexit.register(print, 'last')
    1/0
    """,
    1,
)
_end("a thread that runs on", "import threading as t; t.Timer(0.05, print, ['late']).start()")
_end(
    "a standard output that is closed",
    """
    import os
    print('x')
    os.close(1)
    """,
    120,
)
_end(
    "a file that nobody closes",
    """
    import os, sys
    sys.stdin = open(os.dup(1), 'w')
    sys.stdin.write('kept')
    """,
)
_end(
    "a global that is deleted",
    """
    class D:
      def __del__(self):
        print('deleted')
    d = D()
    """,
)
_end(
    "a file that a class of the module has",
    """
    import os, told
    told.Keeps.file = open(os.dup(1), 'w')
    told.Keeps.file.write('kept')
    """,
)
_end(
    "a file in a list of the module's",
    """
    import os, told
    told.Keeps.things.append(open(os.dup(1), 'w'))
    told.Keeps.things[0].write('kept')
    """,
)
_end(
    "a file that the module has opened",
    """
    import told
    told.WRITER.write(b'kept')
    """,
)
_end(
    "a file in a file in a file",
    """
    import gzip, io, os, told
    out = open(os.dup(1), 'wb')
    told.Keeps.lines = io.TextIOWrapper(gzip.GzipFile(fileobj=out, mode='w', mtime=0))
    told.Keeps.lines.write('kept')
    del out
    """,
)
_end(
    "an archive",
    """
    import io, os, told, zipfile
    class Out(io.BytesIO):
      def close(self):
        print(len(self.getvalue()))
        super().close()
    told.Keeps.zip = zipfile.ZipFile(Out(), 'w')
    told.Keeps.zip.writestr('kept', 'kept')
    """,
)
_end(
    "a text stream that stands in for another",
    """
    import io, sys
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, 'w')))
    print('said')
    """,
)
_end(
    "what C has not written",
    """
    import ctypes
    ctypes.CDLL(None).printf(b'in C %d ', 5)
    """,
)
_end(
    "a finalizer that a class of the module has",
    """
    import told
    class D:
      def __del__(self):
        print('deleted')
    told.Keeps.d = D()
    """,
)
_end(
    "a finalizer that fails",
    """
    import told
    class D:
      def __del__(self):
        1/0
    told.Keeps.d = D()
    """,
)
_end(
    "a finalizer that imports",
    """
    import told
    class D:
      def __del__(self):
        import colorsys
    told.Keeps.d = D()
    """,
)
_end(
    "a finalizer of its own that imports",
    """
    class D:
      def __del__(self):
        import colorsys
    d = D()
    """,
)
_end(
    "a generator in its middle",
    """
    import told
    def g():
      try:
        yield
      finally:
        print('over')
    told.Keeps.g = g()
    next(told.Keeps.g)
    """,
)
_end(
    "a module that it has made",
    r"""
    import sys, types
    m = sys.modules['m'] = types.ModuleType('m')
    exec('class D:\n  def __del__(self):\n    print(name)\n_d, name = D(), 5', vars(m))
    """,
)
_end(
    "a ring",
    """
    class D:
      def __del__(self):
        print('deleted')
    d = D()
    d.d = d
    del d
    """,
)
_end(
    "a thread that nobody waits for",
    """
    import threading, time, told
    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
    told.Keeps.things.append(open(1, 'w', closefd=False))
    told.Keeps.things[0].write('kept')
    """,
)
_end(
    "a thread that is at work",
    """
    import threading, told
    def work():
      while True: pass
    threading.Thread(target=work, daemon=True).start()
    told.Keeps.things.append(open(1, 'w', closefd=False))
    told.Keeps.things[0].write('kept')
    """,
)
_end(
    "a thread that wakes at the end",
    """
    import threading, time, told
    def work():
      while True: time.sleep(0.0001)
    for _ in range(3): threading.Thread(target=work, daemon=True).start()
    told.Keeps.things.append(open(1, 'w', closefd=False))
    told.Keeps.things[0].write('kept')
    """,
)
_end(
    "objects set aside",
    """
    import gc, os
    file = open(os.dup(1), 'w')
    file.write('kept')
    gc.freeze()
    """,
)
_end("an exit status below nothing", "raise SystemExit(-1)", 255)
_end("an exit status beyond all", "raise SystemExit(1 << 70)", 255)
_end(
    "a hook that leaves",
    """
    import sys
    def hook(*_): sys.exit(7)
    sys.excepthook = hook
    1/0
    """,
    7,
)
_end(
    "an exit handler that fails",
    """
    import atexit
    atexit.register(lambda: 1/0)
    """,
)
_end(
    "a standard error that is closed",
    """
    import sys
    print('x')
    sys.stderr.close()
    """,
)
_end(
    "a standard output that is None",
    """
    import sys
    sys.stdout = None
    """,
)
_end(
    "a full disk",
    """
    import os
    os.dup2(os.open('/dev/full', os.O_WRONLY), 1)
    print('x')
    """,
    120,
)
_end(
    "a child that it leaves",
    """
    import os, time
    if not os.fork(): time.sleep(600)
    """,
)
_end(
    "a fork",
    """
    import os
    if os.fork(): os.wait()
    print('both')
    """,
)
_end(
    "multiprocessing",
    """
    from multiprocessing import Pool
    with Pool(2) as p: print(p.map(abs, [-1, 2]))
    """,
)
_end(
    "a type that can be compared and not be looked up",
    """
    import os, told
    class Meta(type):
      def __eq__(self, other): return self is other
    class Odd(metaclass=Meta): pass
    told.Keeps.odd = Odd()
    told.Keeps.file = open(os.dup(1), 'w')
    told.Keeps.file.write('kept')
    """,
)
_end(
    "a thread in the middle of a with",
    """
    import contextlib, threading
    inside = threading.Event()
    @contextlib.contextmanager
    def held():
      try: yield
      finally: print('let go')
    def hold():
      with held():
        inside.set()
        threading.Event().wait()
    threading.Thread(target=hold, daemon=True).start()
    inside.wait()
    print('end')
    """,
)
_end(
    "a thread with an event loop",
    """
    import asyncio, threading
    inside = threading.Event()
    async def forever():
      try:
        inside.set()
        await asyncio.sleep(600)
      finally: print('let go')
    threading.Thread(target=lambda: asyncio.run(forever()), daemon=True).start()
    inside.wait()
    print('end')
    """,
)
