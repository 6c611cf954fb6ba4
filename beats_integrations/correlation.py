"""What surrounds the log call at this moment: the Celery task, the trace, the asyncio task, the process.

Everything is asked of modules the program has already imported (`sys.modules`); this room imports none of them,
and where none is there an answer costs one look into a dict. A library that answers badly is no answer: nothing raises.
"""

from __future__ import annotations

import sys

from beats_integrations.log_event import TaskInfo

MAIN_PROCESS = "MainProcess"  # what multiprocessing, and with it LogRecord.processName, calls the first process


def current_task() -> TaskInfo | None:
    """Return what identifies the Celery task this thread (or greenlet) is running; None outside of tasks."""
    state = sys.modules.get("celery._state")
    if state is None:
        return None
    try:
        task = state.get_current_task()
        if task is None:
            return None
        if task.request.called_directly:
            # A task that was called as a plain function, perhaps inside a real one.
            task = state.get_current_worker_task()
            if task is None:
                return None
        return task_info(task.request, task.name)
    except Exception:  # noqa: BLE001 - celery half imported, or a request of somebody's own making
        return None


def task_info(request: object, name: str | None = None) -> TaskInfo | None:
    """Return what a Celery request (the task's Context, or the worker's Request) says about its task.

    None when the request has no id. `queue` is the routing key, which by Celery's defaults is the queue's name.
    """
    task_id = getattr(request, "id", None)
    if task_id is None:
        return None
    delivery = getattr(request, "delivery_info", None) or {}
    return TaskInfo(
        id=str(task_id),
        name=name or getattr(request, "task", None),
        root_id=getattr(request, "root_id", None),
        parent_id=getattr(request, "parent_id", None),
        group_id=getattr(request, "group", None),
        retries=getattr(request, "retries", None),
        queue=delivery.get("routing_key"),
        worker=getattr(request, "hostname", None),
    )


def current_trace() -> tuple[str | None, str | None]:
    """Return the ids of OpenTelemetry's current trace and span as hexadecimal text; (None, None) outside of one."""
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return None, None
    try:
        span = opentelemetry.get_current_span().get_span_context()
        if span.is_valid:
            return format(span.trace_id, "032x"), format(span.span_id, "016x")
    except Exception:  # noqa: BLE001 - half imported, or a tracer of somebody's own making
        return None, None
    return None, None


def current_asyncio_task() -> str | None:
    """Return the name of the asyncio task that is running in this thread; None outside of event loops."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        # Unlike get_running_loop() it costs no exception in the many threads without a loop.
        loop = asyncio._get_running_loop()  # noqa: SLF001 - in asyncio.events.__all__, for event loops
        task = None if loop is None else asyncio.current_task(loop)
        return None if task is None else task.get_name()
    except Exception:  # noqa: BLE001 - asyncio half imported, or tasks of somebody's own making
        return None


def current_process_name() -> str:
    """Return what `LogRecord.processName` would be: multiprocessing's name of this process."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return MAIN_PROCESS
    try:
        name: str = multiprocessing.current_process().name
    except Exception:  # noqa: BLE001 - logging guards the same: it may be called while multiprocessing is imported
        return MAIN_PROCESS
    return name
