"""Messages and files for the tests of Toil's format.

``leader.messages`` was written by the leader of Toil 9.6.0: a root job with four children, one of
which failed once, a fifth that failed twice, and never a follow-on. ``leader.json`` is what that
Toil's own replay made of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from bus.news import toil
from tests.protocol.arbitrary import texts

FOLDER = Path(__file__).parent
MESSAGES = FOLDER / "leader.messages"
REPLAYED: dict[str, dict[str, Any]] = json.loads((FOLDER / "leader.json").read_text())

_numbers = st.integers(-(2**70), 2**70)
_few = st.sampled_from(["kind-a/1", "kind-a/2", "b"])
_ids = st.integers(1, 4)
_codes = st.sampled_from([0, 0, 1, -1, 255])

#: Any of the ten, with anything in it that Toil could put there.
any_message: st.SearchStrategy[Any] = st.one_of(
    st.builds(toil.JobIssuedMessage, texts, texts, _numbers),
    st.builds(toil.JobUpdatedMessage, texts, _numbers),
    st.builds(toil.JobCompletedMessage, texts, texts, _numbers),
    st.builds(toil.JobFailedMessage, texts, texts),
    st.builds(toil.JobMissingMessage, texts),
    st.builds(toil.JobAnnotationMessage, texts, texts, texts),
    st.builds(toil.ExternalBatchIdMessage, _numbers, texts, texts),
    st.builds(toil.QueueSizeMessage, _numbers),
    st.builds(toil.ClusterSizeMessage, texts, _numbers),
    st.builds(toil.ClusterDesiredSizeMessage, texts, _numbers),
)

#: Messages about a few jobs, so that they meet.
some_messages: st.SearchStrategy[list[Any]] = st.lists(
    st.one_of(
        st.builds(toil.JobIssuedMessage, texts, _few, _ids),
        st.builds(toil.JobUpdatedMessage, _few, _codes),
        st.builds(toil.JobCompletedMessage, texts, _few, _codes),
        st.builds(toil.JobFailedMessage, texts, _few),
        st.builds(toil.JobMissingMessage, _few),
        st.builds(toil.JobAnnotationMessage, _few, st.sampled_from(["a", "b"]), texts),
        st.builds(toil.ExternalBatchIdMessage, _ids, texts, texts),
        st.builds(toil.QueueSizeMessage, _ids),
    ),
    max_size=20,
)


def line_of(message: Any) -> bytes:
    """With its end."""
    return b"toil.bus.%b\t%b\n" % (type(message).__name__.encode(), toil.message_to_bytes(message))
