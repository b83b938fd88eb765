"""TLS to a Redis and a RabbitMQ of one's own: who is trusted, what is said otherwise, renewal.

Both ask for a client's certificate, and show one that is made for ``localhost`` and no address.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.wire import Broker, parse_url
from bus.wire.testing import PrivateRabbitMQ, PrivateRedis, ServerTls
from executor import Executor
from protocol.errors import BrokerUnavailable
from protocol.topology import Dialect
from tests.certificates import Certificates, make
from tests.private import demand
from tests.processes import DEADLINE, WorkerProcess, wait_until
from worker import Worker
from worker.cli import EXIT_BROKER

PASSWORDS = {"redis": "", "amqp": "guest:guest@"}
ENDS = {"redis": "/0", "amqp": "//"}
ECHO = "tests.samples.tasks.echo"


@dataclass(frozen=True)
class Encrypted:
    """A server that speaks TLS, what it shows, and how it is reached."""

    kind: str
    server: PrivateRedis | PrivateRabbitMQ
    files: Certificates
    shown: ServerTls

    def url(
        self, *, scheme: str = "", host: str = "localhost", port: int = 0, **files: Path
    ) -> str:
        """Where; with these files, or with the right ones."""
        scheme = scheme or {"redis": "rediss", "amqp": "amqps"}[self.kind]
        named = "&".join(f"{name}={path}" for name, path in files.items())
        place = f"{PASSWORDS[self.kind]}{host}:{port or self.server.tls_port}{ENDS[self.kind]}"
        return f"{scheme}://{place}?{named}".rstrip("?")

    @property
    def good_url(self) -> str:
        """Where, with the right files."""
        files = self.files
        return self.url(ca=files.ca, cert=files.client, key=files.client_key)

    def show(self, certificate: Path, key: Path) -> None:
        """Show this one from now on, and end all connections there are."""
        shutil.copy(certificate, self.shown.cert)
        shutil.copy(key, self.shown.key)
        if isinstance(self.server, PrivateRabbitMQ):
            self.server.control("eval", "ssl:clear_pem_cache().")
            self.server.control("close_all_connections", "renewal")
        else:
            self.server.restart()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=[pytest.mark.rabbitmq, pytest.mark.slow]),
    ],
)
def encrypted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Encrypted]:
    """Each of the two."""
    files = make(tmp_path_factory.mktemp("certificates"))
    folder = tmp_path_factory.mktemp("shown")
    shown = ServerTls(folder / "server.pem", folder / "key.pem", client_ca=files.ca)
    shutil.copy(files.server, shown.cert)
    shutil.copy(files.server_key, shown.key)
    kind = PrivateRedis if request.param == "redis" else PrivateRabbitMQ
    with demand(kind(tls=shown)) as server:
        yield Encrypted(request.param, server, files, shown)


def refusal(url: str) -> str:
    """What is said when this is connected to."""
    broker = Broker(parse_url(url))
    with pytest.raises(BrokerUnavailable) as caught:
        broker.open()
    return str(caught.value)


# what is said ------------------------------------------------------------------------------------


def test_a_server_that_is_not_signed_by_our_ca_is_refused(encrypted: Encrypted) -> None:
    files = encrypted.files
    said = refusal(encrypted.url(ca=files.other_ca, cert=files.client, key=files.client_key))
    assert f"not signed by the CA in {files.other_ca}" in said
    assert "?ca=FILE" in said


def test_without_a_ca_those_the_system_trusts_are_asked(encrypted: Encrypted) -> None:
    assert "not signed by a CA that this system trusts" in refusal(encrypted.url())


def test_a_certificate_for_another_host_is_refused(encrypted: Encrypted) -> None:
    said = refusal(encrypted.url(host="127.0.0.1", ca=encrypted.files.ca))
    assert "made for another host" in said
    assert "'127.0.0.1'" in said


def test_a_client_without_a_certificate_is_told_to_show_one(encrypted: Encrypted) -> None:
    said = refusal(encrypted.url(ca=encrypted.files.ca))
    assert "asks for a certificate of ours" in said
    assert "?cert=FILE&key=FILE" in said


def test_a_client_whose_certificate_is_not_taken_is_told(encrypted: Encrypted) -> None:
    files = encrypted.files
    said = refusal(encrypted.url(ca=files.ca, cert=files.alien))
    assert "not take our certificate" in said
    assert files.alien.name not in said


def test_a_client_without_tls_is_told_to_use_it(encrypted: Encrypted) -> None:
    said = refusal(encrypted.url(scheme=encrypted.kind))
    scheme = {"redis": "rediss", "amqp": "amqps"}[encrypted.kind]
    assert f"If it speaks TLS at this port, write {scheme}://" in said


def test_a_client_with_tls_at_a_port_without_is_told(encrypted: Encrypted) -> None:
    """A Redis waits for the end of what it takes for a line, and is given up after a moment."""
    said = refusal(encrypted.url(port=encrypted.server.port, ca=encrypted.files.ca))
    assert "speak TLS" in said
    assert f"{encrypted.server.port}" in said


def test_passwords_and_keys_are_in_nothing_that_is_said(
    encrypted: Encrypted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = encrypted.url(ca=encrypted.files.other_ca, cert=encrypted.files.client)
    url = f"{url}&key={encrypted.files.client_key}".replace("localhost", "user:hunter2@localhost")
    said = refusal(url.replace("guest:guest@", "")) + caplog.text
    assert "hunter2" not in said
    assert encrypted.files.client_key.name not in said


# calls travel ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["native", "taskflow"])
def test_calls_travel_encrypted_in_both_dialects(
    encrypted: Encrypted, exchange: str, dialect: Dialect
) -> None:
    """Also one that fills several records of TLS, both ways."""
    large = "x" * 300_000
    with worker(encrypted, exchange, dialect), executor(encrypted, exchange, dialect) as made:
        futures = [made.submit(ECHO, value=value) for value in [*range(50), large]]
        results = [future.result(DEADLINE) for future in futures]
        assert results == [[[], {"value": value}] for value in [*range(50), large]]


def test_a_certificate_that_ran_out_is_told_and_its_renewal_is_enough(
    encrypted: Encrypted, exchange: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Worker and executor say so once each, go on trying, and need no restart."""
    files = encrypted.files
    with worker(encrypted, exchange), executor(encrypted, exchange) as made:
        try:
            assert made.submit(ECHO, 1).result(DEADLINE) == [[1], {}]
            encrypted.show(files.expired, files.expired_key)
            wait_until(lambda: len(told(caplog)) >= 2, "both to say that it has expired")
            later = made.submit(ECHO, 2)
        finally:
            encrypted.show(files.server, files.server_key)
        assert later.result(DEADLINE) == [[2], {}]
    assert len(told(caplog)) == 2
    assert all("renew it at the server" in line for line in told(caplog))


def test_who_does_not_trust_his_broker_is_told_why_at_the_start(
    encrypted: Encrypted, exchange: str, tmp_path: Path
) -> None:
    """At once, not after the patience that a broker has that may be starting."""
    url = encrypted.url(ca=encrypted.files.other_ca)
    with pytest.raises(BrokerUnavailable, match="is not signed by the CA in"):
        Executor(url, exchange=exchange).start()
    environment = {"TASKLINE_URL": url}
    with WorkerProcess("json:dumps", folder=tmp_path, environment=environment) as process:
        assert process.exit_code() == EXIT_BROKER
    assert "is not signed by the CA in" in process.said
    assert "not connected after" not in process.said
    assert "Traceback" not in process.said


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that say that a certificate is out of date."""
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [line for record in records if "out of date" in (line := record.getMessage())]


def worker(encrypted: Encrypted, exchange: str, dialect: Dialect = "native") -> Worker:
    """One in threads of this process, not started."""
    tasks = ["tests.samples.tasks"]
    url = encrypted.good_url
    return Worker(tasks, url=url, exchange=exchange, dialect=dialect, pool="threads", concurrency=2)


def executor(encrypted: Encrypted, exchange: str, dialect: Dialect = "native") -> Executor:
    """One that is told of no worker."""
    return Executor(encrypted.good_url, exchange=exchange, dialects=(dialect,))
