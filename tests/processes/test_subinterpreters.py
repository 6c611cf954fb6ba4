"""Subinterpreters: refused when a shipper is made, with what to do instead."""

from __future__ import annotations

from support.programs import run

# `run(text)` runs it in a subinterpreter of the kind that takes extensions such as msgspec's.
INTERPRETER = """
try:
    import _interpreters as interpreters
    interpreter = interpreters.create("legacy")
except ImportError:
    import _xxsubinterpreters as interpreters
    interpreter = interpreters.create(isolated=False)

def run(text):
    failure = interpreters.run_string(interpreter, text)
    assert failure is None, failure
"""


def test_a_shipper_is_refused_in_a_subinterpreter_and_the_reason_says_what_to_do() -> None:
    ended = run(
        """
        run('''if True:
            from beats_core import Client, Shipper
            try:
                Shipper("localhost")
            except RuntimeError as error:
                print(error, flush=True)
            from beats_integrations.logging import BeatsHandler
            try:
                BeatsHandler(hosts=["localhost"])
            except RuntimeError as error:
                print(error, flush=True)
        ''')
        Shipper(host)
        """,
        "localhost",
        before=INTERPRETER,
        complains=True,
    )

    lines = ended.stdout.splitlines()
    assert 2 == len(lines)
    for line in lines:
        assert "this is a subinterpreter" in line
        assert "WSGIApplicationGroup %{GLOBAL}" in line
