"""What the processes of test_supervisor do."""

import os
import signal
import sys
import time
from pathlib import Path

from walle_deploy.server import supervisor

supervisor.GRACE_S = 1.0


def work(folder, kind):
    if kind == "stay":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(folder, str(os.getpid())).touch()
    if kind == "fail":
        while len(list(Path(folder).glob("[0-9]*"))) < 2:
            time.sleep(0.01)
        sys.exit(3)
    while True:
        time.sleep(60)
