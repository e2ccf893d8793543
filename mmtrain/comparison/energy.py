"""Energy of a machine while a command runs, from the counters of processors and GPUs.

Counters are of the whole machine: whatever else it does counts too. Where none can be read, as
without the rights to RAPL's, there is no number rather than a guess.
"""

import ctypes
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

RAPL: Final = Path("/sys/class/powercap")
# A busy package counts over in some twenty minutes.
_EVERY_S: Final = 60.0
_NVML: Final = "libnvidia-ml.so.1"


class EnergyMeter:
    """Adds up what the counters count from its making on.

    Args:
        rapl: Folder of the processors' counters.
    """

    def __init__(self, rapl: Path = RAPL) -> None:
        self._rapl = rapl
        self._last = {**_packages(rapl), **_gpus()}
        self._joules = dict.fromkeys(self._last, 0.0)
        self._lock, self._ended = threading.Lock(), threading.Event()
        if self._last:
            threading.Thread(target=self._follow, daemon=True).start()

    def joules(self) -> dict[str, float] | None:
        """Joules of each counter so far; None where there is no counter."""
        self._read()
        return dict(self._joules) or None

    def end(self) -> dict[str, float] | None:
        """Joules of each counter until now, after which it counts no more."""
        self._ended.set()
        return self.joules()

    def _follow(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._read()

    def _read(self) -> None:
        with self._lock:
            if not self._last:
                return
            for name, (now, most) in {**_packages(self._rapl), **_gpus()}.items():
                if name in self._last:
                    grown = now - self._last[name][0]
                    self._joules[name] += grown if grown >= 0 else grown + most
                    self._last[name] = now, most


def _packages(rapl: Path) -> dict[str, tuple[float, float]]:
    """Name of each processor to its joules so far, and those at which it begins anew."""
    counts: dict[str, tuple[float, float]] = {}
    for folder in sorted(rapl.glob("intel-rapl:*")):
        if folder.name.count(":") > 1:
            continue  # A part of a processor, whose energy is in the whole.
        with suppress(OSError, ValueError):
            now, most = (
                int((folder / name).read_text()) / 1e6
                for name in ("energy_uj", "max_energy_range_uj")
            )
            counts[f"cpu {len(counts)}"] = now, most
    return counts


def _gpus() -> dict[str, tuple[float, float]]:
    """Name of each GPU to its joules since its driver was loaded, which never begin anew."""
    library = _nvml()
    counts: dict[str, tuple[float, float]] = {}
    if library is None:
        return counts
    number, energy = ctypes.c_uint(), ctypes.c_ulonglong()
    with suppress(AttributeError):  # An old driver has not all of these functions.
        library.nvmlDeviceGetCount_v2(ctypes.byref(number))
        for i in range(number.value):
            device = ctypes.c_void_p()
            failed = library.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(device))
            if not failed and not library.nvmlDeviceGetTotalEnergyConsumption(
                device, ctypes.byref(energy)
            ):
                counts[f"gpu {i}"] = energy.value / 1e3, 0.0
    return counts


def gpu_names() -> list[str]:
    """Names of the GPUs of this machine, whether or not a process may use them."""
    library = _nvml()
    if library is None:
        return []
    number, names = ctypes.c_uint(), []
    library.nvmlDeviceGetCount_v2(ctypes.byref(number))
    for i in range(number.value):
        device, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
        library.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(device))
        if not library.nvmlDeviceGetName(device, name, len(name)):
            names.append(name.value.decode(errors="replace"))
    return names


def total(joules: Mapping[str, float] | None) -> float | None:
    """Sum over counters."""
    return None if joules is None else sum(joules.values())


def _nvml() -> Any:
    """The library of nvidia-smi, set up; None where there is no driver."""
    try:
        library = ctypes.CDLL(_NVML)
    except OSError:
        return None
    return None if library.nvmlInit_v2() else library
