"""Starts a real PostgreSQL server as a child process for tests: own data folder, own port, gone with the tests.

Nothing is installed here: the server's programs come from Debian's package (`make` installs it). PostgreSQL refuses to
run as root, so root starts it as the user `postgres`, who may also enter a folder that belongs to root.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

START_TIMEOUT_SECONDS = 30.0
USER = "postgres"
_AS_POSTGRES = ["--reuid", USER, "--regid", USER, "--init-groups"]
_MAY_TRAVERSE = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
    "log_min_messages": "warning",
}


def programs() -> Path:
    """The folder of the newest installed PostgreSQL server.

    Raises:
        RuntimeError: no server is installed.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("no PostgreSQL server in /usr/lib/postgresql: install Debian's package `postgresql`")
    return found[-1].parent


@dataclass
class PostgresServer:
    """A server that can be stopped and started again with its data; `dsn` is the superuser's."""

    directory: Path
    host: str
    port: int
    password: str
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def dsn(self) -> str:
        """The superuser's URL on the database `postgres`."""
        return self.url("postgres")

    def url(self, database: str, user: str = USER, password: str | None = None) -> str:
        """A `postgresql://` URL on one database."""
        return f"postgresql://{user}:{password or self.password}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Creates an empty database and returns its URL for the superuser."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def start(self) -> None:
        """Starts the server on its old port and returns when it accepts connections.

        It dies with the calling thread: call this from one that lives long enough, as pytest's main thread does.
        """
        argv = [str(programs() / "postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        argv += ["-c", f"listen_addresses={self.host}"]
        argv += [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                _unprivileged(argv, "--pdeathsig", "QUIT"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_ready()

    def stop(self, *, immediate: bool = False) -> None:
        """Stops the server and cuts its connections (`immediate`: as in a crash). Stopping twice is no error."""
        if self._process is None:
            return
        self._process.send_signal(3 if immediate else 2)  # SIGQUIT: immediate shutdown, SIGINT: fast shutdown
        self._process.wait(START_TIMEOUT_SECONDS)
        self._process = None

    def restart(self) -> None:
        """Stops and starts."""
        self.stop()
        self.start()

    @property
    def _log(self) -> Path:
        return self.directory / "postgres.log"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                psycopg.connect(make_conninfo(self.dsn, connect_timeout=2)).close()
            except psycopg.OperationalError as error:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    tail = self._log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL on port {self.port} did not start: {error}\n{tail}") from error
                time.sleep(0.05)
            else:
                return


def start_postgres(directory: Path, *, host: str = "127.0.0.1", port: int | None = None) -> PostgresServer:
    """Makes a new cluster in `directory` (two seconds) and starts it; the caller calls `stop()`.

    Args:
        directory: holds data and log; created when missing.
        host: the address to listen on.
        port: a fixed port, or a free one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(directory, host, port or _free_port(host), secrets.token_hex(12))
    _initialise(server)
    server.start()
    return server


def _initialise(server: PostgresServer) -> None:
    data, password_file = server.directory / "data", server.directory / "password"
    data.mkdir(mode=0o700)
    password_file.write_text(server.password)
    if os.geteuid() == 0:
        subprocess.run(["chown", USER, str(data), str(password_file)], check=True)
    password_file.chmod(0o600)
    argv = [str(programs() / "initdb"), "-D", str(data), "-U", USER, "--no-sync", "--no-instructions"]
    argv += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8"]
    done = subprocess.run(_unprivileged(argv), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"initdb failed with {done.returncode}: {done.stderr.strip()}")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")


def _unprivileged(argv: list[str], *options: str) -> list[str]:
    """Runs `argv` as the user postgres when we are root; `options` go to setpriv in either case."""
    if os.geteuid() == 0:
        return ["setpriv", *_AS_POSTGRES, *_MAY_TRAVERSE, *options, *argv]
    return ["setpriv", *options, *argv] if options else argv


def _free_port(host: str) -> int:
    with socket.socket() as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])
