"""Log events as web applications and Celery tasks make them, the same on every machine for a seed.

Two corpora. `logstash`: flat documents in Logstash's format, mean about 600 bytes of JSON, 5 to 12 fields in
`extra`. `ecs`: the same facts as nested objects with short values, which encoders find a different mix. One event
in twenty carries a traceback of about 2 KB. All events are distinct.

    python tests/benchmarks/corpus.py --schema ecs --events 3
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

Document = dict[str, object]
T = TypeVar("T")

SEED = 20_260_117
WITH_TRACEBACK = 0.05
_STARTED = datetime(2026, 1, 17, 8, 0, tzinfo=UTC)
_APPLICATIONS = ("shop", "billing", "accounts", "search")
_METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")
_PATHS = ("/api/v1/orders/{}", "/api/v1/customers/{}/addresses", "/checkout/{}/payment", "/static/app-{}.js", "/search")
_STATUSES = (200, 200, 200, 200, 201, 204, 302, 400, 404, 500)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "okhttp/5.1.0",
    "python-requests/2.34.2",
    "kube-probe/1.33",
)
_TASKS = ("orders.tasks.send_confirmation", "billing.tasks.capture_payment", "search.tasks.reindex_document")
_QUEUES = ("default", "mail", "payments")
_NAMES = ("Łukasz", "Zoë", "Jürgen", "Ana", "Noor", "Wei", "Olga", "Sam")
_ERRORS = (
    ("ValueError", "invalid literal for int() with base 10: 'n/a'"),
    ("KeyError", "'customer_id'"),
    ("TimeoutError", "no answer from payments.internal:8443 within 5.0 s"),
)
_MODULES = ("views", "services", "repository", "client", "serializers", "middleware", "retry", "transport")


class _Draw:
    """Random choices made of `random()` and `getrandbits()` only: the two whose values no Python release changes."""

    def __init__(self, seed: int) -> None:
        random_ = random.Random(seed)
        self.chance = random_.random
        self._bits = random_.getrandbits

    def one_of(self, values: Sequence[T]) -> T:
        return values[int(self.chance() * len(values))]

    def below(self, limit: int) -> int:
        return int(self.chance() * limit)

    def hexadecimal(self, digits: int) -> str:
        return f"{self._bits(4 * digits):0{digits}x}"

    def uuid(self) -> str:
        digits = self.hexadecimal(32)
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class _Fact:
    """What one event tells, before a schema dresses it."""

    def __init__(self, number: int, draw: _Draw) -> None:
        self.draw = draw
        self.application = draw.one_of(_APPLICATIONS)
        self.time = _STARTED + timedelta(microseconds=1_733 * number + draw.below(1_000))
        self.host = f"{self.application}-{draw.below(12):02d}"
        self.process = 1_000 + draw.below(60_000)
        self.is_task = draw.chance() < 0.4
        self.error = (*draw.one_of(_ERRORS), _traceback(draw)) if draw.chance() < WITH_TRACEBACK else None
        self.level = "ERROR" if self.error else draw.one_of(("DEBUG", "INFO", "INFO", "INFO", "INFO", "WARNING"))
        self.line = 10 + draw.below(900)
        self.identity = draw.uuid()
        self.duration = round(draw.chance() ** 3 * 1_500, 3)
        self.user = draw.below(2_000_000)

    @property
    def timestamp(self) -> str:
        return self.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def logstash_events(count: int, seed: int = SEED) -> Iterator[Document]:
    """Yield `count` flat documents in Logstash's format."""
    draw = _Draw(seed)
    for number in range(count):
        fact = _Fact(number, draw)
        message, extra = (_task if fact.is_task else _request)(fact)
        if fact.error:
            extra["exc_type"], extra["exc_message"], extra["stack_trace"] = fact.error
        yield {
            "@timestamp": fact.timestamp,
            "@version": "1",
            "extra": extra,
            "host": fact.host,
            "level": fact.level,
            "logsource": fact.host,
            "message": message,
            "pid": fact.process,
            "program": "celery" if fact.is_task else "gunicorn",
            "type": "python-logstash",
        }


def ecs_events(count: int, seed: int = SEED) -> Iterator[Document]:
    """Yield `count` nested documents as ECS has them: many small objects, short values."""
    draw = _Draw(seed + 1)
    for number in range(count):
        fact = _Fact(number, draw)
        message, fields = (_task if fact.is_task else _request)(fact)
        document: Document = {
            "@timestamp": fact.timestamp,
            "ecs": {"version": "8.11.0"},
            "message": message,
            "log": {"level": fact.level.lower(), "logger": fact.application, "origin": {"file": {"line": fact.line}}},
            "service": {"name": fact.application, "environment": "production"},
            "host": {"name": fact.host},
            "process": {"pid": fact.process, "thread": {"id": draw.below(64), "name": "MainThread"}},
            "event": {"dataset": fact.application, "duration": int(fact.duration * 1e6), "outcome": "success"},
            "trace": {"id": draw.hexadecimal(32)},
            "labels": {"shard": draw.below(32), "cached": draw.chance() < 0.5, "ratio": round(draw.chance(), 2)},
        }
        if fact.is_task:
            document["celery"] = {"task": {"id": fact.identity, "name": fields["task_name"], "retries": draw.below(3)}}
        else:
            document["http"] = {"request": {"method": fields["method"]}, "response": {"status_code": fields["status"]}}
            document["user"] = {"id": str(fact.user)}
        if fact.error:
            document["error"] = dict(zip(("type", "message", "stack_trace"), fact.error, strict=True))
        yield document


SCHEMAS: dict[str, Callable[[int, int], Iterator[Document]]] = {"logstash": logstash_events, "ecs": ecs_events}


def _request(fact: _Fact) -> tuple[str, Document]:
    draw = fact.draw
    method, status = draw.one_of(_METHODS), draw.one_of(_STATUSES)
    path = draw.one_of(_PATHS).format(draw.below(10_000_000))
    optional: Document = {
        "user_id": fact.user,
        "remote_addr": f"10.{draw.below(256)}.{draw.below(256)}.{draw.below(256)}",
        "session": draw.hexadecimal(24),
        "customer": {"name": draw.one_of(_NAMES), "tier": draw.below(4)},
        "user_agent": draw.one_of(_AGENTS),
    }
    return f"{method} {path} answered {status} in {fact.duration} ms", {
        "application": fact.application,
        "environment": "production",
        "logger_name": f"{fact.application}.{draw.one_of(_MODULES)}",
        "request_id": fact.identity[:18],
        "method": method,
        "status": status,
        "duration_ms": fact.duration,
    } | _some(optional, draw)


def _task(fact: _Fact) -> tuple[str, Document]:
    draw = fact.draw
    name = draw.one_of(_TASKS)
    optional: Document = {
        "worker": f"celery@{fact.host}",
        "queue": draw.one_of(_QUEUES),
        "retries": draw.below(3),
        "root_id": draw.uuid(),
        "order_total": round(draw.chance() * 900, 2),
        "items": [draw.below(100_000) for _ in range(1 + draw.below(4))],
        "recipient": f"{draw.one_of(_NAMES)}.{fact.user}@example.org",
    }
    return f"Task {name}[{fact.identity}] succeeded in {fact.duration / 1000:.6f}s", {
        "application": fact.application,
        "environment": "production",
        "logger_name": "celery.app.trace",
        "task_id": fact.identity,
        "task_name": name,
    } | _some(optional, draw)


def _some(fields: Document, draw: _Draw) -> Document:
    keep = draw.below(len(fields) + 1)
    return dict(list(fields.items())[:keep])


def _traceback(draw: _Draw) -> str:
    lines = ["Traceback (most recent call last):"]
    for depth in range(13):
        module = draw.one_of(_MODULES)
        lines.append(
            f'  File "/srv/app/releases/{draw.hexadecimal(8)}/shop/{module}.py", line {draw.below(900)}, in call'
        )
        lines.append(f"    return self.{module}.handle(request, depth={depth}, attempt={draw.below(5)}, timeout=5.0)")
    return "\n".join([*lines, "RuntimeError: gave up"])


def main() -> None:
    """Write a corpus as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schema", choices=sorted(SCHEMAS), default="logstash")
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    for event in SCHEMAS[options.schema](options.events, options.seed):
        sys.stdout.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
