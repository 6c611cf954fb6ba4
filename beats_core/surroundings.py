"""What kind of program this is a guest of, where that decides whether threads can be relied on."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

_UWSGI_ALWAYS_RUNS_THREADS = (2, 0, 27)  # the first in which enable-threads is what happens anyway

THREADS_NEVER_RUN = (
    "no thread runs in this uWSGI: set enable-threads = true (--enable-threads); until then each log call delivers its "
    "event itself, and waits for the acknowledgement, at most 1 s"
)


def threads_never_run() -> bool:
    """Tell whether threads can be started and then stand still: in uWSGI, unless its options enable them.

    Its workers keep the GIL while they wait for requests.
    """
    uwsgi = sys.modules.get("uwsgi")  # which exists only inside of it
    if uwsgi is None:
        return False
    # `threads` and its kind make uWSGI use threads itself.
    enabled = any(_is_on(uwsgi, option) for option in ("enable-threads", "T", "threads"))
    return not enabled and _version(uwsgi) < _UWSGI_ALWAYS_RUNS_THREADS


def is_about_to_fork() -> bool:
    """Tell whether C code is to fork this process, so that a thread in it would harm the children: in uWSGI's master.

    Where a thread happens to wait for the GIL at that moment, the child's GIL is broken, and it hangs.
    """
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is not None and not any(getattr(uwsgi, name, int)() for name in ("worker_id", "mule_id"))


def refuse_subinterpreters() -> None:
    """Raise RuntimeError in any but the main interpreter of a process.

    Whether daemon threads may be started there, C extensions loaded, and exit handlers run in time, differs from
    version to version of Python; what is shared between them, such as descriptors and forks, no one looks after.
    """
    for name in ("_interpreters", "_xxsubinterpreters"):  # since Python 3.13, and before
        with suppress(ImportError, AttributeError):
            interpreters = import_module(name)
            if _id(interpreters.get_current()) != _id(interpreters.get_main()):
                raise RuntimeError(
                    "beats_core ships from the main interpreter only, and this is a subinterpreter: with mod_wsgi set "
                    "WSGIApplicationGroup %{GLOBAL}, with uWSGI single-interpreter = true; elsewhere hand the events "
                    "to the main interpreter, or use processes"
                )
            return


def _id(interpreter: object) -> int:
    found: Any = interpreter[0] if isinstance(interpreter, tuple) else interpreter
    return int(found)


def _is_on(uwsgi: ModuleType, option: str) -> bool:
    """Tell whether an option of uWSGI is given: it is True, or its text in bytes."""
    value = uwsgi.opt.get(option, uwsgi.opt.get(option.encode(), False))
    return value not in (False, b"0", b"false", b"off", b"no")


def _version(uwsgi: ModuleType) -> tuple[int, ...]:
    text = uwsgi.version.decode() if isinstance(uwsgi.version, bytes) else str(uwsgi.version)
    return tuple(int(part) for part in text.split("-")[0].split(".") if part.isdecimal())
