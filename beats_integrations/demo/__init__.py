"""A small shop that logs through structlog, loguru, logging and Celery, with a receiver that goes away for a while.

    python -m beats_integrations.demo

- `web`, `stock`, `invoices` are programs as yours may be, one per logging library; `shop_tasks` is a Celery app and
  `orders` sends its tasks.
- `program` is what they share: their shipper, their pace, and what they report at their end.
- `receiving` and `children` are the other side: the receiver, and the programs as processes.
- `tally` compares what was logged with what arrived and what was acknowledged.
"""

from __future__ import annotations
