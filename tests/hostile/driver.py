"""Runs cases in worker processes and outlives them."""

import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")


def survey(pickle: Path, first: int, count: int, step: int = 1) -> tuple[list[str], dict[str, int]]:
    """What is wrong with cases first, first + step, ...; and how many ended how.

    A worker that dies (crash, hang, memory) costs its case, and another one goes on behind it.
    """
    problems: list[str] = []
    ends: dict[str, int] = {}
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # what is damaged here is read and lowered before a device is asked; compiling for one takes longer than a case may
    environment = os.environ | quiet | {"WALLE_OPENCL_DEVICE": "none", "WALLE_VULKAN_DEVICE": "none"}
    left = count
    while left > 0:
        command = [sys.executable, str(WORKER), str(pickle), str(first), str(step), str(left)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        open_case = None
        for line in done.stdout.splitlines():
            what, _, rest = line.partition(" ")
            number, _, detail = rest.partition(" ")
            if what == "start":
                open_case = int(number)
            elif what == "end":
                ends[detail] = ends.get(detail, 0) + 1
                open_case = None
            elif what == "bad":
                problems.append(f"case {number}: {detail}")
        if open_case is None:
            if done.returncode:
                problems.append(f"the worker failed between cases: {done.stderr[-2000:]}")
            break
        problems.append(f"case {open_case}: the process ended with {done.returncode}: {done.stderr[-3000:]}")
        left -= (open_case - first) // step + 1
        first = open_case + step
    return problems, ends
