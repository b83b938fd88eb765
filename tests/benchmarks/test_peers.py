from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.ground import ROOT, Ground
from benchmarks.measures import MEASURES
from benchmarks.peers import PEERS
from benchmarks.peers.peer import Peer
from benchmarks.programme import BROKERS, cells
from benchmarks.tasks import TASKS


def ground(peer: str, setting: str, broker: str) -> Ground:
    return Ground(peer, setting, broker, 2, "redis://a/1", "redis://a/2", "/nowhere", (3, 4))


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_each_peer_is_complete(peer: Peer) -> None:
    assert set(peer.settings) <= set(BROKERS)
    assert Path(ROOT, *peer.app.split(".")).with_suffix(".py").exists()
    for broker, settings in peer.settings.items():
        names = [setting.name for setting in settings]
        assert len(set(names)) == len(names) > 0
        for name in names:
            command = peer.worker(ground(peer.name, name, broker), 1)
            assert command[:2] == [sys.executable, "-m"]


def test_ours_is_started_with_nothing_but_what_its_setting_says() -> None:
    def words(setting: str) -> list[str]:
        return PEERS["taskline"].worker(ground("taskline", setting, "redis"), 0)[2:]

    assert words("default") == ["worker", "benchmarks.tasks", "--url", "redis://a/1"]
    assert words("threads") == [*words("default"), "--pool", "threads"]
    assert words("journal") == words("default")


def test_every_measure_is_in_the_programme_and_the_other_way_round() -> None:
    assert {cell.measure for cell in cells()} == set(MEASURES)


def test_a_ground_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    put = ground("huey", "best", "redis")
    for name, value in put.to_environment().items():
        monkeypatch.setenv(name, value)
    assert Ground.from_environment() == put


def test_each_task_shows_that_it_was_run() -> None:
    assert TASKS["bump"](4) == 5
    assert TASKS["turn"]("abc") == "bca"
    assert TASKS["who"](7) == 0
