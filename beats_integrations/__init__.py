"""Adapters that ship what structlog, loguru, stdlib logging and Celery log, each in the module named after its library.

Importing this package imports none of those libraries.
"""

from __future__ import annotations
