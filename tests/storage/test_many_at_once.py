"""Several processes that begin at the same moment end in the same state."""

from __future__ import annotations

import subprocess
import sys

from pipeline.storage.engine import open_database
from pipeline.storage.schema import REVISION, revision_of

MAKE_SCHEMA = """
import sys
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
print("ready", flush=True)
sys.stdin.readline()
require_schema(open_database(sys.argv[1]))
"""


def test_workers_that_find_an_empty_database_create_its_schema_once(database_url: str) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_SCHEMA, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    ends = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        ends.append((worker.returncode, errors))

    assert [status for status, _ in ends] == [0, 0, 0, 0], ends
    database = open_database(database_url)
    assert revision_of(database) == REVISION
    database.close()
