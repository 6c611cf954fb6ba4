"""`python -m beats_integrations.demo`, which is what `make demo` runs: everything at once, and a table at the end."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib.util import find_spec

from beats_core.cli.terminal import silence_stdout

EXTRAS = {"structlog": "structlog", "loguru": "loguru", "celery": "celery", "rich": "cli"}  # module → extra

TELLS = """
Three programs log through structlog, loguru and logging, a Celery worker (prefork, two processes) runs tasks that
succeed, retry and fail, and all of it goes to one receiver, which is away for two seconds in the middle.

The table at the end: "logged" is what each program says it logged (for Celery what its tasks are to cause);
"acknowledged" what its shipper has an acknowledgement for; "resent" how many events were sent again after the outage;
"lost" what did not arrive or was not acknowledged. p50 and p99 are the times from inside the log call to the
acknowledgement, measured in the program that logged, which looks once a millisecond; the outage is in them.

Ends with 0 if every single event arrived and was acknowledged, else with 1.
"""


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        prog="python -m beats_integrations.demo",
        description="A small shop that logs, and a receiver that goes away for a while.",
        epilog=TELLS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=12.0, help="how long the programs log (default: 12)")
    parser.add_argument("--tasks", type=int, default=24, help="how many Celery tasks to run, 1 to 200 (default: 24)")
    arguments = parser.parse_args()
    if not 1 <= arguments.tasks <= 200:
        parser.error("--tasks: 1 to 200; a folder of files is a slow broker")
    if arguments.seconds <= 0:
        parser.error("--seconds: more than 0")
    missing = sorted({extra for module, extra in EXTRAS.items() if find_spec(module) is None})
    if missing:
        sys.exit(f"The demo needs more: pip install 'beats-integrations[{','.join(missing)}]'")

    from beats_integrations.demo.performance import perform  # noqa: PLC0415 - needs what was just looked for

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that nothing is left behind
    try:
        sys.exit(perform(arguments.seconds, arguments.tasks))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        silence_stdout()
        sys.exit(1)


if __name__ == "__main__":
    main()
