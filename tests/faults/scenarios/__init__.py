"""The scenarios, one module for each fault of the list; by code."""

from __future__ import annotations

from tests.faults.scenario import Scenario
from tests.faults.scenarios import (
    f01_worker_killed,
    f02_executor_killed,
    f03_broker_killed,
    f04_network,
    f05_any_order,
    f06_nonsense,
    f07_frozen,
    f08_poison,
    f09_disk_full,
    f10_slow,
    f11_queued,
    f12_mixed_fleet,
    f13_threads_and_forks,
    f14_cancel_storm,
    f15_soak,
    f16_broker_emptied,
)

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.code: module.SCENARIO
    for module in (
        f01_worker_killed,
        f02_executor_killed,
        f03_broker_killed,
        f04_network,
        f05_any_order,
        f06_nonsense,
        f07_frozen,
        f08_poison,
        f09_disk_full,
        f10_slow,
        f11_queued,
        f12_mixed_fleet,
        f13_threads_and_forks,
        f14_cancel_storm,
        f15_soak,
        f16_broker_emptied,
    )
}
