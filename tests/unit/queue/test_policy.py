"""What the end of an attempt means, decided without a clock or a database."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.errors import (
    DatabaseUnavailable,
    DecoderCrashed,
    JobDiscarded,
    JobSnoozed,
    MediaDamaged,
    StagedFileMissing,
    ToolTimedOut,
)
from lumilio.queue.policy import Backoff, Ending, JobState, completed, failed

BACKOFF = Backoff(first=5, factor=4, longest=3600, jitter=0.2)


def end_of(exc: BaseException, *, attempt: int = 1, max_attempts: int = 3) -> Ending:
    return failed(exc, attempt=attempt, max_attempts=max_attempts, backoff=BACKOFF, chance=0.5)


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (ToolTimedOut("slow"), "tool.timed_out"),
        (DecoderCrashed("SIGSEGV"), "tool.decoder_crashed"),
        (DatabaseUnavailable("restarting"), "database.unavailable"),
        (ValueError("defect"), "internal.error"),
        (TimeoutError(), "internal.error"),
        (asyncio.CancelledError(), "internal.error"),
        (ExceptionGroup("tasks", [ToolTimedOut("slow")]), "tool.timed_out"),
        (ExceptionGroup("tasks", [MediaDamaged("bad"), ValueError("defect")]), "internal.error"),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(exc: BaseException, code: str) -> None:
    ending = end_of(exc)
    assert (ending.state, ending.code, ending.delay, ending.counted) == (JobState.RETRYABLE, code, 5, True)


@pytest.mark.parametrize("exc", [ToolTimedOut("slow"), ValueError("defect"), asyncio.CancelledError()])
def test_the_last_attempt_discards(exc: BaseException) -> None:
    assert end_of(exc, attempt=3).state is JobState.DISCARDED


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (MediaDamaged("bad"), "media.damaged"),
        (StagedFileMissing("gone"), "storage.staged_file_missing"),
        (JobDiscarded("bad"), "queue.discarded"),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [MediaDamaged("bad")])]), "media.damaged"),
    ],
)
def test_what_cannot_pass_by_itself_is_discarded_at_once(exc: BaseException, code: str) -> None:
    ending = end_of(exc)
    assert (ending.state, ending.code, ending.delay) == (JobState.DISCARDED, code, None)


def test_a_discard_takes_the_code_of_its_cause() -> None:
    discarded = JobDiscarded("given up")
    discarded.__cause__ = MediaDamaged("bad")
    assert end_of(discarded).code == "media.damaged"


@pytest.mark.parametrize(("delay", "seconds"), [(timedelta(minutes=2), 120), (timedelta(seconds=-1), 0)])
def test_a_snooze_waits_gives_the_attempt_back_and_leaves_no_error(delay: timedelta, seconds: float) -> None:
    ending = end_of(JobSnoozed(delay, "waiting for exiftool"), attempt=3)
    assert ending == Ending(state=JobState.SCHEDULED, delay=seconds, counted=False)


def test_messages_are_bounded_and_cannot_break_a_line_or_a_row() -> None:
    message = end_of(ValueError("a\nb\0c\x1b[31m\ud800" + "x" * 9000)).message
    assert message is not None
    assert message.startswith("ValueError: a b\\x00c\\x1b[31m\N{REPLACEMENT CHARACTER}xxx")
    assert len(message) == 2000


def test_waits_grow_up_to_their_limit() -> None:
    assert [BACKOFF.delay(attempt, 0.5) for attempt in (1, 2, 3, 6, 10_000)] == [5, 20, 80, 3600, 3600]


@given(st.integers(1, 32_767), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_share(attempt: int, chance: float) -> None:
    plain = BACKOFF.delay(attempt, 0.5)
    assert 0.8 * plain <= BACKOFF.delay(attempt, chance) <= 1.2 * plain


@pytest.mark.parametrize("result", [{"n": float("nan")}, {"n": float("inf")}, {(1, 2): "key"}])
def test_a_result_that_json_cannot_carry_is_refused(result: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        completed(result)


@given(st.dictionaries(st.text(), st.text(st.characters(codec=None)) | st.lists(st.text(st.characters(codec=None)))))
def test_any_text_in_a_result_can_be_stored(result: dict[str, object]) -> None:
    text = completed(result).result
    assert text is not None
    text.encode()
    assert "\0" not in text
    assert "\\u0000" not in text.replace("\\\\", "")


def test_only_three_states_are_final() -> None:
    assert {state for state in JobState if state.final} == {"completed", "cancelled", "discarded"}
