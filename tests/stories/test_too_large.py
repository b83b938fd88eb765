"""What is too large for a broker ends as an error that says so, and never waits for ever.

Under our own bound it is refused where it is made (``tests/executor/test_client.py``). Here the
broker takes less than that: a RabbitMQ told so, as an operator would tell it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.wire.testing import PrivateRabbitMQ
from executor import Executor
from protocol.errors import MessageUndeliverable
from tests.private import demand
from tests.processes import DEADLINE
from tests.samples import tasks
from worker import Worker

MOST = 100_000  # bytes that the broker takes


@pytest.fixture(scope="module")
def narrow() -> Iterator[str]:
    """Where a RabbitMQ takes messages of at most ``MOST`` bytes."""
    with demand(PrivateRabbitMQ(settings={"max_message_size": str(MOST)})) as server:
        yield server.url


@pytest.mark.slow
def test_what_it_takes_one_by_one_arrives_though_it_travelled_together(
    narrow: str, exchange: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Forty requests of 10 kB are ready at once, and so are their results."""
    text = "x" * 10_000
    with (
        Worker(
            [tasks.__name__], url=narrow, exchange=exchange, pool="threads", concurrency=40
        ) as worker,
        Executor(narrow, exchange=exchange) as executor,
    ):
        executor.wait_for_workers(1, DEADLINE)
        futures = [executor.submit(tasks.echo, text) for _ in range(40)]
        assert [future.result(DEADLINE) for future in futures] == [[[text], {}]] * 40
        assert "undeliverable" not in worker.counts()
    assert "never be sent" not in caplog.text


@pytest.mark.slow
def test_what_the_broker_does_not_take_fails_alone_and_is_written_down(
    narrow: str, exchange: str, tmp_path: Path
) -> None:
    kept = {"name": "nightly", "journal": tmp_path / "nightly.journal", "exchange": exchange}
    with Worker(
        [tasks.__name__], url=narrow, exchange=exchange, pool="threads", concurrency=2, name="hare"
    ) as worker:
        with Executor(narrow, **kept) as executor:  # type: ignore[arg-type]
            executor.wait_for_workers(1, DEADLINE)
            result = executor.submit(tasks.large, 2 * MOST)
            arguments = executor.submit(tasks.echo, "x" * 3 * MOST)
            others = [executor.submit(tasks.add, n, 1) for n in range(20)]
            assert [other.result(DEADLINE) for other in others] == list(range(1, 21))
            said = {}
            for future, size in ((result, 2 * MOST), (arguments, 3 * MOST)):
                with pytest.raises(MessageUndeliverable) as caught:
                    future.result(DEADLINE)
                said[future.uuid] = str(caught.value)
                assert f" of {size:,}"[:7] in str(caught.value)  # and what is around it
                assert f"larger than configured max size {MOST}" in str(caught.value)
                assert "guest:guest" not in str(caught.value)
            assert "has run on worker hare" in said[result.uuid]
            assert "could not be sent" in said[arguments.uuid]
            assert worker.counts()["undeliverable"] == 1
            assert executor.submit(tasks.large, MOST // 2).result(DEADLINE) == "x" * (MOST // 2)
        with Executor(narrow, **kept) as again:  # type: ignore[arg-type]
            assert again.open_requests() == []
            for uuid, words in said.items():
                assert words in str(again.get(uuid).exception(DEADLINE))
