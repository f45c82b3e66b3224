"""An interpreter with a GIL of its own, through the modules that CPython tests itself with; Python 3.12 and later."""

import sys

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters

# C modules of the standard library that abort or do not load in such interpreters on 3.12 and 3.13; without them the
# pure Python forms are used. NumPy loads in one interpreter per process only.
BLOCKED = "_datetime,_decimal,_hashlib,_ssl,_sqlite3,_ctypes,_asyncio,_curses,readline,numpy,ml_dtypes"


class Interpreter:
    """An interpreter with a GIL of its own; created, used and closed by one thread."""

    def __enter__(self):
        isolated = {"isolated": True} if sys.version_info < (3, 13) else {"config": "isolated"}
        self.id = interpreters.create(**isolated)
        return self

    def __exit__(self, *_):
        interpreters.destroy(self.id)  # Python 3.12 aborts at exit if one is left

    def run(self, code, **shared):
        body = "\n".join("    " + line for line in code.splitlines())
        code = f"try:\n{body}\nexcept BaseException:\n    import traceback; traceback.print_exc(); raise"
        failed = interpreters.run_string(self.id, code, shared=shared)
        if failed is not None:  # Python 3.12 raises instead
            raise RuntimeError(failed.formatted)
