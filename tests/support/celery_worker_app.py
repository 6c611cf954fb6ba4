"""What a worker of the tests loads: `celery -A support.celery_worker_app worker`. The environment tells it the rest."""

from __future__ import annotations

import faulthandler
import json
import os
import signal

from beats_integrations.celery import install
from support.celery_brokers import Broker
from support.celery_shop import make_shop

faulthandler.register(signal.SIGRTMIN, file=2)  # CeleryWorker asks a worker that hangs where it stands
settings = json.loads(os.environ["CELERY_TEST_SETTINGS"])
app = make_shop(Broker(**settings["broker"]))
install(app, **settings["options"])
