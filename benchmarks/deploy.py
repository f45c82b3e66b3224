"""Every benchmark of the deployment platform, one after another; each prints its table.

python benchmarks/deploy.py [--markdown docs/benchmarks.md] [--only server,http]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def parts() -> list[str]:
    """Names of the benchmarks: what follows ``deploy_`` in the names of the files."""
    return sorted(path.stem.removeprefix("deploy_") for path in HERE.glob("deploy_*.py"))


def main() -> int:
    """Runs them; the exit status is 1 if one of them fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--only", help=f"some of {', '.join(parts())}, with commas between them")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else parts()
    if unknown := sorted(set(names) - set(parts())):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(parts())}")
    failed = []
    for name in names:
        print(f"--- {name}", flush=True)
        begun = time.monotonic()
        command = [sys.executable, str(HERE / f"deploy_{name}.py")]
        if options.markdown:
            command += ["--markdown", str(options.markdown)]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"    {time.monotonic() - begun:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
