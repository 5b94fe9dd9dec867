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
    pick_encoder,
)


def test_the_software_encoder_works() -> None:
    assert SOFTWARE in available_encoders()
    assert fault_of(SOFTWARE) is None


def test_an_encoder_is_tried_before_it_is_chosen() -> None:
    def works(name: str) -> str | None:
        return None if name == "h264_qsv" else "no such device"

    assert choose("software", works) == EncoderChoice(encoder=SOFTWARE, reason="software, as configured")
    assert choose("auto", works).encoder == "h264_qsv"
    assert choose("qsv", works).encoder == "h264_qsv"
    refused = choose("nvenc", works)
    assert refused.encoder == SOFTWARE
    assert "h264_nvenc: no such device" in refused.reason


@pytest.mark.parametrize("wanted", ["auto", *HARDWARE])
async def test_the_trial_ends_well_in_a_child_whatever_the_machine_has(wanted: str) -> None:
    async with DecoderPool(size=1, limits=DecoderLimits(file_bytes=None)) as pool:
        choice = await pool.run(pick_encoder, wanted, timeout=60)

    if choice.encoder == SOFTWARE:
        assert all(name in choice.reason for word, name in HARDWARE.items() if wanted in ("auto", word))
    else:
        assert fault_of(choice.encoder) is None
