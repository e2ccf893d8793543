"""Opens the other clips of a row, and mixes their sounds into the row's own."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mmprep.clips.decode.clip import Clip
from mmprep.clips.decode.sniff import sniff
from mmprep.clips.parts.babble import SILENT, level, mix
from mmprep.clips.record import Record
from mmprep.clips.sources import Sources
from mmprep.clips.span import check_listed_times, is_whole_video
from mmprep.config import PartsConfig
from mmprep.failure import ClipError
from mmprep.manifest import Row, Voice


class VoiceMixer:
    """Mixes babble into sounds, as `mmprep.config.AudioConfig` asks for.

    Args:
        sources: Access to the raw clips.
        config: Parts of each sample and their parameters.
        announce: Function that is called with each other clip before it is decoded, and with None
            behind it, so that a crash has a name.
    """

    def __init__(
        self, sources: Sources, config: PartsConfig, announce: Callable[[Voice | None], object]
    ) -> None:
        self._sources = sources
        self._config = config
        self._announce = announce

    def mix(self, record: Record, row: Row, own: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns ``own`` with the babble of ``row``, and notes ratio and clips in ``record``.

        A silent sound has no level that a ratio could be taken to: it stays as it is.

        Raises:
            StoreError: The bucket with the clips refuses.
        """
        ratio_db = self._config.audio.babble_db
        if ratio_db is None:
            return own
        voices = self._read(row) if level(own) >= SILENT else {}
        facts = {"ratio_db": ratio_db, "clips": list(voices)}
        if not voices:
            record.note(babble=facts)
            return own
        mixture = mix(own, list(voices.values()), ratio_db)
        record.note(babble={**facts, "gain": round(mixture.gain, 4)})
        return mixture.wave

    def _read(self, row: Row) -> dict[str, NDArray[np.float32]]:
        """Sounds of the first drawn clips that have one, by key."""
        voices: dict[str, NDArray[np.float32]] = {}
        for voice in row.voices:
            if len(voices) == self._config.audio.babble_clips:
                break
            self._announce(voice)
            wave = self._decode(voice)
            self._announce(None)
            if level(wave) >= SILENT:
                voices[voice.key] = wave
        return voices

    def _decode(self, voice: Voice) -> NDArray[np.float32]:
        """Sound of another clip; empty if it does not decode, which fails that clip, not this."""
        try:
            with ExitStack() as stack:
                path = stack.enter_context(self._sources.open(voice.source))
                sniff(path)
                start = voice.start or 0.0
                end = np.inf if voice.end is None else voice.end
                clip = stack.enter_context(self._clip(path, voice, start, end))
                if voice.listed is not None and is_whole_video(clip, voice.listed):
                    check_listed_times(clip, voice.listed)
                    clip = stack.enter_context(self._clip(path, voice, *voice.listed))
                if clip.has_audio:
                    return clip.sound(self._config.spectrogram.rate_hz)
        except (ClipError, av.FFmpegError):
            pass
        return np.zeros(0, np.float32)

    def _clip(self, path: Path, voice: Voice, start: float, end: float) -> Clip:
        end = min(start + self._config.clip_s, end)
        return Clip(path, start, end, video=False, audio=True, name=voice.source)
