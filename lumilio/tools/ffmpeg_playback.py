"""What browsers play, and what the shortest way there is for a recording that they do not.

The common ground of Chrome, Firefox and Safari: H.264 with 8 bits and 4:2:0, VP8, VP9 and AV1, each in the container
that it came up with; AAC, MP3, Opus, Vorbis, FLAC and plain PCM. Interlaced pictures play as combs, so that they count
as needing work. H.264 and AAC in MOV plays everywhere as it is, although browsers say "no" to video/quicktime: served
as video/mp4 it saves the disk a second copy of what phones record.
"""

from dataclasses import dataclass
from typing import Literal

from lumilio.model import Playback

DEMUXERS = "mov,matroska,avi,flv,asf,mpegts,mpeg,mpegvideo,ogg,mp3,aac,flac,wav,aiff"
"""FFmpeg's readers of the containers in ``media/formats.py``; every other one stays out of reach of hostile bytes."""

_PCM = ("alaw", "f32be", "f32le", "f64be", "f64le", "mulaw", "s16be", "s16le", "s24be", "s24le", "s32be", "s32le")
DECODERS = frozenset(
    (
        *("av1", "cinepak", "dvvideo", "ffv1", "flv", "h263", "h263p", "h264", "hevc", "huffyuv", "indeo3", "indeo5"),
        *("libdav1d", "mjpeg", "mjpegb", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2"),
        *("msrle", "msvideo1", "png", "prores", "qtrle", "rawvideo", "rpza", "svq1", "svq3", "theora", "vc1", "vp6"),
        *("vp6a", "vp6f", "vp8", "vp9", "wmv1", "wmv2", "wmv3", "aac", "aac_latm", "ac3", "adpcm_ima_qt"),
        *("adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "alac", "amrnb", "amrwb", "dca", "eac3", "flac", "gsm_ms", "mace3"),
        *("mace6", "mlp", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "nellymoser", "opus", "qdm2", "speex"),
        *("truehd", "vorbis", "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice", "pcm_s8", "pcm_u8", "pcm_bluray"),
        *(f"pcm_{name}" for name in _PCM),
    )
)
"""FFmpeg's decoders of what cameras, phones and programs for music have written into those containers."""

_H264_PROFILES = frozenset({"Baseline", "Constrained Baseline", "Main", "High"})
_PLAIN_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_PLAIN_PCM = frozenset({"pcm_s16le", "pcm_u8"})
_OPEN_VIDEO = frozenset({"vp8", "vp9", "av1"})
_OPEN_SOUND = frozenset({"opus", "vorbis"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """What matters of moving pictures: FFmpeg's names of codec, profile and pixel format."""

    codec: str
    profile: str | None
    pixels: str | None
    interlaced: bool
    mirrored: bool

    def is_plain(self) -> bool:
        """Whether browsers decode it."""
        if self.pixels not in _PLAIN_PIXELS or self.interlaced or self.mirrored:
            return False
        return self.profile in _H264_PROFILES if self.codec == "h264" else self.codec in _OPEN_VIDEO


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a web version is made: into which container, and which streams are copied; the others are encoded."""

    container: Literal["mp4", "webm"]
    copies_video: bool
    copies_sound: bool


def route(vision: Vision | None, sound: str | None) -> Route:
    """The way that encodes least, for the picture and the codec of the sound, either of which may be missing."""
    open_sound = sound is None or sound in _OPEN_SOUND
    if open_sound and (vision is None or (vision.is_plain() and vision.codec in _OPEN_VIDEO)):
        return Route(container="webm", copies_video=vision is not None, copies_sound=sound is not None)
    return Route(
        container="mp4",
        copies_video=vision is not None and vision.is_plain() and vision.codec != "vp8",
        copies_sound=sound in ("aac", "mp3"),
    )


def playback(container: str, brand: str | None, vision: Vision | None, sound: str | None) -> Playback:
    """What a browser needs. ``container`` is FFmpeg's short name, ``brand`` the major brand of an MP4 or ``webm``."""
    if _plays_as_it_is(container, brand, vision, sound):
        return Playback.DIRECT
    way = route(vision, sound)
    encodes = (vision is not None and not way.copies_video) or (sound is not None and not way.copies_sound)
    return Playback.TRANSCODE if encodes else Playback.REMUX


def _plays_as_it_is(container: str, brand: str | None, vision: Vision | None, sound: str | None) -> bool:
    if vision is not None and not vision.is_plain():
        return False
    codec = vision.codec if vision else None
    match container:
        case "mov":
            known = brand is not None and not brand.startswith("3g")
            modern = codec in ("vp9", "av1") and sound == "opus"
            return known and codec != "vp8" and (sound in ("aac", "mp3", None) or modern)
        case "matroska":
            return brand == "webm" and codec != "h264" and (sound is None or sound in _OPEN_SOUND)
        case "ogg":
            return vision is None and sound in _OPEN_SOUND
        case "wav":
            return vision is None and sound in _PLAIN_PCM
        case "mp3" | "aac" | "flac":
            return vision is None and sound == container
        case _:
            return False
