"""A PostgreSQL server from Debian's package, on a Unix socket only, with a new database for whoever asks."""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

START = 20.0  # seconds that it has to start


class Postgres:
    def __init__(self, folder: Path) -> None:
        self.folder, self.conninfo = folder, f"host={folder} user=walle dbname=postgres"
        self._numbers = itertools.count(1)

    def database(self) -> str:
        """The address of a new database, which is a schema: that is made sooner."""
        import psycopg

        name = f"walle{next(self._numbers)}"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"postgresql://walle@/postgres?host={self.folder}&options=-csearch_path%3D{name}"


def _missing(why: str) -> None:
    if os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}:
        pytest.fail(why)
    pytest.skip(why)


@contextlib.contextmanager
def postgres(*, fsync=False):
    """A server; without `fsync` what it has does not outlast the machine, and it is quicker."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1]
    found = next((path for path in folders if (path / "initdb").exists()), None)
    if found is None:
        _missing("PostgreSQL is not installed (Debian package postgresql-15)")
    folder, options = Path(tempfile.mkdtemp(prefix="walle-pg-")), {}
    try:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            options = {"user": "postgres" if "postgres" in names else "nobody"}
            os.chown(folder, pwd.getpwnam(options["user"]).pw_uid, -1)
        data = f"{folder}/data"
        made = [
            found / "initdb",
            "-D",
            data,
            "-U",
            "walle",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **options)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": folder,
            "shared_buffers": "64MB",
            "max_connections": 200,
            "fsync": "on" if fsync else "off",
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            command = [found / "postgres", "-D", data, *given]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **options)
        try:
            ready = [found / "pg_isready", "-q", "-h", str(folder), "-U", "walle", "-d", "postgres"]
            until = time.monotonic() + START
            while subprocess.run(ready, check=False).returncode:
                assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()[
                    -2000:
                ]
                time.sleep(0.02)
            yield Postgres(folder)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
