"""The spectrogram on axes in seconds and Hz, with marks at the times of the frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmprep.clips.parts.spectrogram import axes as axes_of
from mmprep.config import SpectrogramConfig
from mmprep.inspection.picture.sheet import (
    CONTENT,
    GAP,
    HEADING,
    INK,
    LEFT,
    LINE,
    MUTED,
    Sheet,
    points,
    size_text,
)
from mmprep.inspection.picture.view import View

_TALL: Final = 260
_FEET: Final = 62
_MARKS: Final = 14
_CROWDED: Final = 30
_UNITS: Final = {
    "psd": "log power density",
    "stft": "log magnitude",
    "fbank": "log mel energy",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SpectrogramPanel:
    """A panel with one spectrogram.

    Args:
        values: Spectrogram (frequencies, columns).
        config: Parameters with which it was made.
        times: Times of the frames in seconds, marked above the picture.
        loops_from: Second from which the sound repeats; None where it does not.
        silent: Whether silence stands in for sound that the source lacks.
    """

    values: NDArray[np.float32]
    config: SpectrogramConfig
    times: Sequence[float]
    loops_from: float | None
    silent: bool

    @classmethod
    def of(cls, view: View) -> Self:
        """Returns the panel of a sample's spectrogram."""
        seconds = (view.record.get("audio") or {}).get("duration_s")
        return cls(
            values=view.spectrogram(),
            config=view.config.spectrogram,
            times=view.times,
            loops_from=seconds if view.checks.get("looped") else None,
            silent=bool(view.checks.get("no_audio")),
        )

    @property
    def height(self) -> float:
        """Height of the panel in pixels."""
        return HEADING + _MARKS + _TALL + _FEET

    def draw(self, sheet: Sheet, top: float) -> None:
        """Draws the panel from ``top`` pixels downwards."""
        sheet.heading(top, "Spectrogram")
        top += HEADING + _MARKS
        axes = sheet.axes(LEFT, top, CONTENT, _TALL)
        hz, seconds = axes_of(self.config, self.values.shape)
        half = float(seconds[1] - seconds[0]) / 2 if len(seconds) > 1 else 0.5
        end = float(seconds[-1]) + half
        low, high = levels(self.values)
        picture = axes.imshow(
            self.values,
            origin="lower",
            aspect="auto",
            extent=(float(seconds[0]) - half, end, -0.5, len(hz) - 0.5),
            cmap="magma",
            vmin=low,
            vmax=high,
        )
        axes.set_xlim(0, end)
        axes.set_xlabel("time (s)", fontsize=points(13), color=INK)
        # Rows are spaced evenly, in mel or in Hz; ticks are put where their frequency lies.
        ticks = _ticks(float(hz[0]), float(hz[-1]), octaves=self.config.recipe == "fbank")
        axes.set_yticks(np.interp(ticks, hz, np.arange(len(hz))), [f"{tick:g}" for tick in ticks])
        axes.set_ylabel("frequency (Hz)", fontsize=points(13), color=INK)
        _plain(axes)
        self._mark_frames(axes, [time for time in self.times if time <= end])
        self._mark_loop(axes, end)
        bar = sheet.axes(LEFT + CONTENT + GAP, top, 14, _TALL - 70)
        sheet.figure.colorbar(picture, cax=bar)
        _plain(bar)
        sheet.legend(top + _TALL - 56, self._note())

    def _note(self) -> str:
        rows, columns = self.values.shape
        note = f"{_UNITS[self.config.recipe]}\n{size_text(rows, columns)}, {self.config.recipe}"
        return f"{note}\nno sound: silence" if self.silent else note

    def _mark_frames(self, axes: Axes, times: Sequence[float]) -> None:
        if not times:
            return
        above = axes.get_xaxis_transform()
        axes.vlines(times, 1.0, 1.025, transform=above, color=INK, linewidth=1, clip_on=False)
        if len(times) <= _CROWDED:
            axes.vlines(times, 0, 1, transform=above, color="white", alpha=0.28, linewidth=0.8)
        axes.text(
            1,
            1.035,
            "ticks above: times of the frames",
            transform=axes.transAxes,
            fontsize=points(11.5),
            color=MUTED,
            ha="right",
            va="bottom",
        )

    def _mark_loop(self, axes: Axes, end: float) -> None:
        if self.loops_from is None or not 0 < self.loops_from < end:
            return
        axes.axvline(self.loops_from, color="white", linestyle="--", linewidth=1.4)
        axes.text(
            self.loops_from,
            0.94,
            f"  sound repeats from {self.loops_from:.2f} s  ",
            transform=axes.get_xaxis_transform(),
            color="white",
            fontsize=points(12.5),
            ha="left" if self.loops_from < end / 2 else "right",
            va="top",
        )


def levels(values: NDArray[np.float32]) -> tuple[float | None, float | None]:
    """Range of values that the colours span.

    The extreme thousandths are left out, or a single click would decide the range.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None, None
    low, high = np.percentile(finite, (0.1, 99.9))
    return float(low), float(high)


def _ticks(low: float, high: float, *, octaves: bool) -> NDArray[np.float64]:
    """Round frequencies from ``low`` to ``high``: evenly spaced, or doubling from 125 Hz on."""
    ticks = 125 * 2.0 ** np.arange(12) if octaves else MaxNLocator(5).tick_values(low, high)
    return np.array([tick for tick in ticks if low <= tick <= high], np.float64)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=points(12), colors=INK, length=4, color=MUTED)
    for spine in axes.spines.values():
        spine.set_color(LINE)
