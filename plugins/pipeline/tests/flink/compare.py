"""Runs what generate.py wrote in Flink, as SQL MATCH_RECOGNIZE, and compares the matches.

    python compare.py FOLDER

Needs apache-flink and Java 17, not walle_pipeline. Prints every difference and exits with 1 if there is one.
"""

import collections
import json
import sys
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment

SOURCE = """
CREATE TEMPORARY TABLE events (
    p INT, `key` INT, id INT, kind STRING, page STRING, heavy INT, mask INT, millis BIGINT,
    ts AS TO_TIMESTAMP_LTZ(millis, 3), WATERMARK FOR ts AS ts - INTERVAL '0.001' SECOND
) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv')
"""
QUERY = """
SELECT {number} AS p, `key`, taken
FROM (SELECT * FROM events WHERE p = {number}) MATCH_RECOGNIZE (
    PARTITION BY `key` ORDER BY ts, id {sql}
)
"""
SHOWN = 20


def found(path, cases):
    table = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    table.get_config().set("parallelism.default", "1")
    table.execute_sql(SOURCE.format(path=path.resolve().as_uri()))
    queries = [QUERY.format(number=number, sql=case["sql"]) for number, case in enumerate(cases)]
    with table.execute_sql(" UNION ALL ".join(queries)).collect() as rows:
        return collections.Counter(tuple(row) for row in rows)


def taken(some):
    """The ids in bit sets."""
    return [[number for number in range(bits.bit_length()) if bits >> number & 1] for bits in sorted(some)]


def show(path, case, key, ours, theirs):
    print(f"\n{case['pattern']}  within {case['within']} ms, {case['after']}\n{case['sql']}")
    for line in path.read_text().splitlines():
        _, owner, number, kind, page, heavy, _, time = line.split(",")
        if owner == str(key):
            print(f"  {number:>3} at {time:>8} {kind}({page}){' heavy' * int(heavy)}")
    print(f"  here: {taken(ours)}\n  Flink: {taken(theirs)}")


def main():
    (folder,) = map(Path, sys.argv[1:])
    counts = collections.Counter()
    for path in sorted(folder.glob("batch-*.csv")):
        cases = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
        ours = collections.Counter(
            (number, *match) for number, case in enumerate(cases) for match in case["matches"]
        )
        theirs = found(path, cases)
        differ = sorted({key[:2] for key in (ours - theirs) + (theirs - ours)})
        sequences = {tuple(line.split(",")[:2]) for line in path.read_text().splitlines()}
        counts.update(
            patterns=len(cases), sequences=len(sequences), matches=ours.total(), flink=theirs.total(),
            differences=len(differ),
        )  # fmt: skip
        for number, key in differ[: max(SHOWN - counts["shown"], 0)]:
            counts["shown"] += 1
            some = [
                [bits for n, k, bits in got.elements() if (n, k) == (number, key)] for got in (ours, theirs)
            ]
            show(path, cases[number], key, *some)
        print(path.name, dict(counts), flush=True)
    sys.exit(1 if counts["differences"] or not counts["matches"] else 0)


if __name__ == "__main__":
    main()
