from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from opentelemetry import trace

from beats_integrations.correlation import (
    current_asyncio_task,
    current_process_name,
    current_task,
    current_trace,
    task_info,
)
from beats_integrations.log_event import TaskInfo

app = Celery("correlation", broker="memory://", set_as_current=False)


charge: Any = app.task(name="correlation.charge", shared=False)(current_task)


def call_charge() -> TaskInfo | None:
    found: TaskInfo | None = charge()
    return found


outer: Any = app.task(name="correlation.outer", shared=False)(call_charge)


@contextmanager
def running(task: Any, **request: object) -> Iterator[None]:
    """Run a task the way a worker does: on the stack of tasks, with a request."""
    from celery._state import pop_current_task, push_current_task

    task.push_request(called_directly=False, **request)
    push_current_task(task)
    try:
        yield
    finally:
        pop_current_task()
        task.pop_request()


@contextmanager
def in_place_of(name: str, module: object) -> Iterator[None]:
    """Have a program whose module of that name is not, or not yet, what it should be."""
    before = sys.modules[name]
    sys.modules[name] = module  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules[name] = before


def test_importing_the_package_and_asking_it_imports_no_library() -> None:
    program = """if True:
        import sys
        import beats_integrations, beats_integrations.logging
        from beats_integrations.correlation import current_task, current_trace, current_asyncio_task
        from beats_integrations.correlation import current_process_name
        assert (None, (None, None), None, "MainProcess") == (
            current_task(), current_trace(), current_asyncio_task(), current_process_name())
        hosts = {"structlog", "loguru", "celery", "opentelemetry", "multiprocessing"}
        print(sorted(hosts & sys.modules.keys()))
    """

    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert "[]\n" == printed


# Celery


def test_outside_of_tasks_there_is_none() -> None:
    assert current_task() is None


def test_a_running_task_is_named_with_what_it_belongs_to() -> None:
    with running(
        charge,
        id="1",
        root_id="0",
        parent_id="0",
        group="g",
        retries=2,
        hostname="celery@web-1",
        delivery_info={"exchange": "", "routing_key": "mail"},
    ):
        task = current_task()

    assert (
        TaskInfo(
            id="1",
            name="correlation.charge",
            root_id="0",
            parent_id="0",
            group_id="g",
            retries=2,
            queue="mail",
            worker="celery@web-1",
        )
        == task
    )


def test_an_eager_task_is_a_task() -> None:
    result = charge.apply(task_id="1").get()

    assert ("1", "correlation.charge") == (result.id, result.name)


def test_a_task_called_as_a_function_is_none() -> None:
    assert charge() is None


def test_a_task_called_as_a_function_belongs_to_the_task_that_called_it() -> None:
    result = outer.apply(task_id="1").get()

    assert ("1", "correlation.outer") == (result.id, result.name)


def test_a_task_is_known_in_its_own_thread_only() -> None:
    found: list[TaskInfo | None] = []
    with running(charge, id="1"):
        thread = threading.Thread(target=lambda: found.append(current_task()))
        thread.start()
        thread.join()

    assert [None] == found


def test_a_request_without_an_id_names_no_task() -> None:
    assert task_info(Context()) is None


def test_a_request_names_its_task_itself() -> None:
    assert TaskInfo(id="1", name="correlation.charge", retries=0) == task_info(
        Context(id="1", task="correlation.charge")
    )


@pytest.mark.parametrize("state", [ModuleType("celery._state"), None])
def test_celery_half_imported_is_no_celery(state: ModuleType | None) -> None:
    with in_place_of("celery._state", state):
        assert current_task() is None


# Traces


def test_outside_of_traces_there_are_no_ids() -> None:
    assert (None, None) == current_trace()


def test_the_ids_of_the_current_span_are_hexadecimal() -> None:
    span = trace.NonRecordingSpan(trace.SpanContext(trace_id=0xABC, span_id=0x12, is_remote=False))

    with trace.use_span(span):
        assert ("abc".zfill(32), "12".zfill(16)) == current_trace()


@pytest.mark.parametrize("module", [ModuleType("opentelemetry.trace"), None])
def test_opentelemetry_half_imported_is_no_opentelemetry(module: ModuleType | None) -> None:
    with in_place_of("opentelemetry.trace", module):
        assert (None, None) == current_trace()


# asyncio and processes


def test_an_asyncio_task_has_a_name() -> None:
    async def main() -> list[str | None]:
        named = asyncio.create_task(answer(), name="checkout")
        return [await named, await asyncio.to_thread(current_asyncio_task)]

    async def answer() -> str | None:
        return current_asyncio_task()

    assert ["checkout", None] == asyncio.run(main())
    assert current_asyncio_task() is None


def test_a_callback_of_a_loop_runs_in_no_task() -> None:
    async def main() -> str | None:
        found: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: found.set_result(current_asyncio_task()))
        return await found

    assert asyncio.run(main()) is None


@pytest.mark.parametrize("module", [ModuleType("asyncio"), None])
def test_asyncio_half_imported_is_no_asyncio(module: ModuleType | None) -> None:
    with in_place_of("asyncio", module):
        assert current_asyncio_task() is None


def test_the_process_has_multiprocessings_name() -> None:
    process = SimpleNamespace(current_process=lambda: SimpleNamespace(name="Worker-3"))

    with in_place_of("multiprocessing", process):
        assert "Worker-3" == current_process_name()


@pytest.mark.parametrize("module", [ModuleType("multiprocessing"), None])
def test_multiprocessing_half_imported_is_the_main_process(module: ModuleType | None) -> None:
    with in_place_of("multiprocessing", module):
        assert "MainProcess" == current_process_name()
