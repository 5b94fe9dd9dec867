"""Encoders of H.264: which is taken, and that a trial of it ends well whatever the machine has."""

import pytest

from lumilio.tools.decoders import DecoderLimits, DecoderPool
from lumilio.tools.ffmpeg_encoders import (
    HARDWARE,
    SOFTWARE,
    EncoderChoice,
    available_encoders,
    choose,
    fault_of,
)


def test_the_software_encoder_works() -> None:
    assert SOFTWARE in available_encoders()
    assert fault_of(SOFTWARE) is None


async def test_an_encoder_is_tried_before_it_is_chosen() -> None:
    async def works(name: str) -> str | None:
        return None if name == "h264_qsv" else "no such device"

    assert await choose("software", works) == EncoderChoice(encoder=SOFTWARE, reason="software, as configured")
    assert (await choose("auto", works)).encoder == "h264_qsv"
    assert (await choose("qsv", works)).encoder == "h264_qsv"
    refused = await choose("nvenc", works)
    assert refused.encoder == SOFTWARE
    assert "h264_nvenc: no such device" in refused.reason


@pytest.mark.parametrize("wanted", ["auto", *HARDWARE])
async def test_the_trial_ends_well_in_a_child_whatever_the_machine_has(wanted: str) -> None:
    async with DecoderPool(size=1, limits=DecoderLimits(file_bytes=None)) as pool:
        choice = await choose(wanted, lambda encoder: pool.run(fault_of, encoder, timeout=60))

    if choice.encoder == SOFTWARE:
        assert all(name in choice.reason for word, name in HARDWARE.items() if wanted in ("auto", word))
    else:
        assert fault_of(choice.encoder) is None
