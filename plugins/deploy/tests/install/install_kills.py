"""Kills a process that installs one version after the other, again and again; python install_kills.py FOLDER KILLS."""

import os
import random
import signal
import sys
import time
from pathlib import Path

from install_power import Memory, version
from walle_deploy.install.slots import Slots
from walle_deploy.install.update import update


def install(root: Path, number: int, tell: int) -> None:
    """Installs versions from `number` on, without end; tells of each that is durable."""
    while True:
        web = Memory()
        with Slots(root) as slots:
            manifest, sources = version(number, web)
            update(slots, manifest, sources, web)
            os.write(tell, b"%d\n" % number)
            slots.confirm("task")
        number += 1


def main(root: Path, kills: int) -> None:
    chance = random.Random(1)
    last, between, went = 0, 0, 0
    for _ in range(kills):
        hear, tell = os.pipe()
        child = os.fork()
        if not child:
            try:
                install(root, last + 1, tell)
            finally:
                os._exit(3)
        os.close(tell)
        time.sleep(chance.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child failed"
        with os.fdopen(hear, "rb") as file:
            told = [int(line) for line in file.read().split()]
        sure = told[-1] if told else last
        with Slots(root) as slots:
            found = slots.load("task")
            assert not list((root / "temp").iterdir())
        number = 0 if found is None else int(found.manifest.version[1:])
        assert number in {sure, sure + 1}, f"{number} is current, {sure} was told"
        between += number == sure + 1
        went += number > last
        last = number
    print(
        f"{kills} kills, {last} versions, {between} switched but not told, {went} rounds with a new version"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
