"""Hosts that vanish: what their connections held is free for the others within 30 seconds."""

import subprocess
import sys

import psycopg
import pytest

from tests.support.hosts import HERE, other_host
from tests.support.postgresql import network_postgresql

HOLD_A_LOCK = """
import sys
from akool_async.durable._store_url import StoreUrl

connection = StoreUrl.read(sys.argv[1]).engine().connect().connection.dbapi_connection
connection.pgconn.exec_(b"BEGIN")
# Without the end of its message PostgreSQL counts the statement as active, and no time-out of a transaction applies.
connection.pgconn.enter_pipeline_mode()
connection.pgconn.send_query_params(b"UPDATE things SET number = 2", None)
connection.pgconn.send_flush_request()
connection.pgconn.flush()
print("holds", flush=True)
sys.stdin.read()
"""
MAX_SECONDS = 30


def test_a_host_that_vanishes_in_the_middle_of_a_statement_does_not_keep_its_locks():
    """PostgreSQL asks whether the host is there, and lets others have the row within 30 seconds."""
    with other_host() as host, network_postgresql(HERE) as store:
        with psycopg.connect(store, autocommit=True) as connection:
            connection.execute("CREATE TABLE things (number int)")
            connection.execute("INSERT INTO things VALUES (1)")
            command = host.command(sys.executable, "-c", HOLD_A_LOCK, store)
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
                assert holder.stdout.readline() == "holds\n"
                connection.execute("SET lock_timeout = '100ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    connection.execute("UPDATE things SET number = 3")
                host.cut()
                connection.execute(f"SET lock_timeout = '{MAX_SECONDS}s'")
                connection.execute("UPDATE things SET number = 3")
                holder.kill()
