"""The keyed tumbling window of benchmarks/pipeline.py in bytewax; run with the Python of .venv-pipeline.

Reads events from a file of lines ``time_ms key``, prints how many windows came out and the seconds that it took.
"""

import sys
import time
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
events = []
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        at, key = line.split()
        events.append((key, EPOCH + timedelta(milliseconds=int(at))))

flow = Dataflow("window")
stream = op.input("in", flow, TestingSource(events, batch_size=1000))
clock = win.EventClock(lambda item: item[1], wait_for_system_duration=timedelta(0))
windower = win.TumblingWindower(length=timedelta(seconds=60), align_to=EPOCH)
counted = win.count_window("count", stream, clock, windower, lambda item: item[0])
found = []
op.output("out", counted.down, TestingSink(found))
start = time.perf_counter()
run_main(flow)
print(len(found), sum(n for _, (_, n) in found), time.perf_counter() - start)
