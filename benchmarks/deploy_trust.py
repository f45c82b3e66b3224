"""The two signatures in numbers: size of an answer, and CPU time to sign it, check it, record it and follow images.

    python benchmarks/deploy_trust.py [--rounds 2000]

Prints a markdown table of medians. Wants `walle-deploy`.
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from walle_deploy.trust import (
    AnswerSigner,
    AnswerTask,
    AnswerVerifier,
    Director,
    FolderTransport,
    ImageClient,
    ImageRepository,
    RoleKeys,
    TrustState,
    new_key,
)
from walle_deploy.trust.answer import open_answer

DEVICE = "d-7f0c1d7e-3f51-4b56-9a02-5f1a0e1f8b6f"
NOW = int(time.time())


def median_us(
    work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.process_time
) -> float:
    """Of eleven batches, in microseconds for one call."""
    batch, times = max(rounds // 11, 1), []
    for _ in range(11):
        begun = clock()
        for _ in range(batch):
            work()
        times.append((clock() - begun) / batch * 1e6)
    return statistics.median(times)


def tasks(count: int) -> list[AnswerTask]:
    base = "https://cdn.example.com/walle/objects"
    return [
        AnswerTask(f"recommendation/rank-{at}", 1234, bytes(range(32)), 70_000, base) for at in range(count)
    ]


def answers(folder: Path, rounds: int) -> list[str]:
    key, rows = new_key(), []
    director, signer = Director((key.public,)), AnswerSigner(key)
    verifier = AnswerVerifier(DEVICE, TrustState(folder / "state"))
    plain = median_us(lambda: key.private.sign(bytes(200)), rounds)
    rows.append(f"| Ed25519 alone, sign 200 B | {plain:.1f} µs |")
    for count in (1, 20):
        given = tasks(count)

        def sign(counter: int = 1, given: list[AnswerTask] = given) -> bytes:
            return signer.sign(
                DEVICE, given, counter=counter, issued=NOW, expires=NOW + 86_400, nonce=bytes(16)
            )

        wire = sign()
        rows.append(f"| answer for {count} task(s), with signature and nonce | {len(wire)} B |")
        rows.append(f"| sign it | {median_us(sign, rounds):.1f} µs |")
        packed = [
            signer.pack(DEVICE, given, counter=at, issued=NOW, expires=NOW + 86_400) for at in range(1, 17)
        ]
        together = signer.seal(packed)[0]
        rows.append(
            f"| sign 16 together, each | {median_us(lambda p=packed: signer.seal(p), rounds) / 16:.1f} µs, {len(together)} B |"
        )
        rows.append(
            f"| open one of these | {median_us(lambda w=together: open_answer(w, director), rounds):.1f} µs |"
        )
        rows.append(
            f"| open it (signature, decoding, bounds) | {median_us(lambda w=wire: open_answer(w, director), rounds):.1f} µs |"
        )
        rows.append(
            f"| check it (and device, counter, time) | {median_us(lambda w=wire: verifier.check(w, director), rounds):.1f} µs |"
        )
    wires = iter([sign(counter) for counter in range(2, 222)])
    wall = median_us(lambda: verifier.accept(next(wires), director), 220, time.perf_counter)
    rows.append(f"| accept 20 tasks, on disk (fsync, wall) | {wall:.0f} µs |")
    verifier.state.close()
    return rows


def images(folder: Path, rounds: int) -> list[str]:
    keys = [new_key() for _ in range(3)]
    online, offline = new_key(), RoleKeys([key.public for key in keys], 2)
    roles = {
        "root": offline,
        "targets": offline,
        **dict.fromkeys(("snapshot", "timestamp"), RoleKeys([online.public])),
    }
    repository = ImageRepository.create(folder / "images", roles, Director((new_key().public,)))
    for version in range(1, 301):
        repository.add("search", version, b"manifest %d" % version)
    for role in repository.staged():
        repository.sign(role, *keys[:2])
    repository.publish(online)
    state = TrustState(folder / "state-images")
    client = ImageClient(folder / "tuf", FolderTransport(folder / "images"), repository.root(), state)
    client.refresh()
    wall = median_us(client.refresh, max(rounds // 20, 11), time.perf_counter)
    look = median_us(lambda: client.image("search", 300), rounds)
    state.close()
    return [
        f"| follow images with nothing new, 300 versions in one role (folder, wall) | {wall / 1000:.1f} ms |",
        f"| look a version up | {look:.1f} µs |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        rows = answers(Path(folder), rounds) + images(Path(folder), rounds)
    print("| | median |\n| --- | --- |", *rows, sep="\n")


if __name__ == "__main__":
    main()
