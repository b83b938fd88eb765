"""What the stories of whole workflows ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import brokers
from tests.interop_toil.site import Site


@pytest.fixture(params=["here", pytest.param("redis", marks=pytest.mark.redis)])
def site(request: pytest.FixtureRequest, tmp_path: Path, exchange: str) -> Site:
    """One on this machine alone, and one with workers on a Redis, which it starts itself."""
    url = brokers.demand(brokers.REDIS_URL) if request.param == "redis" else None
    return Site(tmp_path, url, exchange)


@pytest.fixture
def staffed(site: Site) -> Iterator[Site]:
    """The same, and a worker is there."""
    if site.is_here:
        yield site
    else:
        with site.worker() as worker:
            worker.up()
            yield site
