"""Releases a version to 1,000 simulated devices, twice: a good one gets everywhere, a bad one is taken back by itself.

    python examples/fleet.py [--devices 1000] [--bad-share 0.3] [--out build/fleet]

Needs walle-deploy[server,plot]. Hours of the devices' time take seconds; every answer to a device is held against the plan, and one
that breaks a rule ends the program.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from walle_deploy.fleet.drawing import draw
from walle_deploy.fleet.fleet import Nature
from walle_deploy.fleet.own import NEW, OLD, TASK
from walle_deploy.fleet.plans import quick
from walle_deploy.fleet.population import Population
from walle_deploy.fleet.simulate import simulate

HEALTHY = 0.01  # share of runs that fails where nothing is wrong


def main() -> int:
    """Tells both stories; returns the exit status: 0 if they end as they should."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--bad-share", type=float, default=0.3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    well = True
    for name, share in (("good", HEALTHY), ("bad", options.bad_share)):
        nature = Nature(failing={f"v{OLD}": HEALTHY, f"v{NEW}": share}, start={TASK: f"v{OLD}"})
        story = simulate(Population(options.devices, 0), nature, quick(options.devices, 1.0), until=0.95)
        last, most = story.last, max(scene.covered for scene in story.scenes)
        print(
            f"{name} version, {share:.0%} of its runs fail: {last.status} in stage {last.stage} of {last.stages} ({last.title})"
        )
        print(
            f"  {most} devices had it at most; at the end, after {last.at / 3600:.1f} h, {last.covered} of {last.living} have it,"
        )
        print(
            f"  and {last.kept} keep the old one for comparison"
            if name == "good"
            else "  those that were not seen since"
        )
        print(
            f"  {last.reports[0]} reports of the new version, {last.reports[1]} of the old one beside it; {last.took:.1f} s in all"
        )
        well &= story.done and (last.status == "rolled back") == (name == "bad")
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            draw(story, str(options.out / f"{name}.png"))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
