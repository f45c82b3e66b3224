"""``walle ops``."""

from __future__ import annotations

import click

from walle_core.cli.common import console, json_option, print_json, print_table, progress, walle_command
from walle_core.ops import catalogue
from walle_core.plugins import load_plugins
from walle_core.workload import PAPER_BACKENDS, Workload, matrix, workload


@walle_command(
    """walle ops                     # the catalogue
walle ops --matrix            # which backend runs which operator by its own kernel
walle ops --workload          # what decomposition saves
walle ops --kind atomic --json"""
)
@click.option(
    "--matrix", "as_matrix", is_flag=True, help="Operators x backends: native, derived, or not at all."
)
@click.option(
    "--workload", "as_workload", is_flag=True, help="Operators x backends to write by hand, with and without."
)
@click.option(
    "--kind", type=click.Choice(["atomic", "transform", "composite", "control"]), help="Only this kind."
)
@json_option
def command(as_matrix: bool, as_workload: bool, kind: str | None, as_json: bool) -> None:
    """List operators, the backends that run them natively, and the workload figure.

    native: the backend has a kernel. derived: it runs the operator after decomposition into atomic operators and
    raster. Operators that a backend runs in neither way fall back to another installed backend.
    """
    backends = {n: b for n, b in load_plugins().backends.items() if b.devices()}
    if as_workload:
        with progress("counting") as step:
            found = workload(backends, step)
        _print_workload(found, as_json)
        return
    operators = [op for op in catalogue().values() if kind in (None, op.kind)]
    if as_matrix:
        with progress("trying samples") as step:
            table = matrix(backends, step)
        if as_json:
            print_json({op: {b: c.how for b, c in row.items()} for op, row in table.items()})
            return
        print_table(
            ("operator", "kind", *backends),
            [
                (op.name, op.kind, *(f"{c.how or '-'} {c.native + c.derived}/{c.total}" for c in table[op.name].values()))
                for op in operators if op.name in table
            ],
        )  # fmt: skip
        return
    adders = load_plugins().operators
    rows = [
        {
            "name": op.name,
            "kind": op.kind,
            "family": op.family,
            "plugin": adders.added_by(op.name),
            "doc": op.doc,
        }
        for op in operators
    ]
    if as_json:
        print_json(rows)
        return
    print_table(("operator", "kind", "family", "plugin", "what"), [tuple(row.values()) for row in rows])
    console().print(f"{len(rows)} operators")


def _print_workload(found: Workload, as_json: bool) -> None:
    without, needed = found.uniform()
    if as_json:
        print_json(
            {
                "operators": {"atomic": found.atomic, "transform": found.transforms, "composite": found.composites,
                              "control": found.control, "host": found.host},
                "targets": {name: {"runs": runs, "atomic_kernels": own} for name, (runs, own) in found.targets.items()},
                "without": found.without, "needed": found.needed, "saved": found.saved, "fused_kernels": found.fused,
                "uniform": {"backends": PAPER_BACKENDS, "without": without, "needed": needed},
            }
        )  # fmt: skip
        return
    out = console()
    out.print(
        f"{found.atomic} atomic, {found.transforms} transform, {found.composites} composite, {found.control} control, {found.host} host operators"
    )
    print_table(
        ("target", ">operators it runs", ">atomic kernels of its own"),
        [(name, runs, own) for name, (runs, own) in found.targets.items()],
    )
    out.print(
        f"to write by hand: {found.without:,} pieces without decomposition, {found.needed:,} with it: "
        f"{found.saved:.0%} less ({found.fused} fused kernels are optional)"
    )
    out.print(
        f"the same catalogue on {PAPER_BACKENDS} backends: {without:,} -> {needed:,}, {1 - needed / without:.0%} less "
        "(the paper: 1,954 -> 1,055, 46% less)"
    )
