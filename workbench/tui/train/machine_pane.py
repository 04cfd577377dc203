"""The machine pane: GPUs through nvidia-ml-py, cores, memory, and the disk that runs are on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from workbench import paths
from workbench.tui.text import meter, short_bytes
from workbench.tui.widgets.text_lines import Line, plain

PERIOD = 1.0
BAR = 24


class MachineSource:
    """Readings of this machine, once a second while they are on screen."""

    def __init__(self, symbols: str) -> None:
        self._symbols = symbols
        self._due = 0.0
        self._gpus: _Gpus | None = None

    def poll(self) -> list[Line] | None:
        now = time.monotonic()
        if now < self._due:
            return None
        self._due = now + PERIOD
        if self._gpus is None:
            self._gpus = _Gpus()
        return [*self._gpu_lines(self._gpus), *self._host_lines()]

    def _bar(self, label: str, share: float, words: str) -> Line:
        role = "bad" if share > 0.95 else "warn" if share > 0.8 else "good"
        return (
            (f"  {label:<8}", "key"),
            (meter(share, BAR, self._symbols), role),
            (f" {share:4.0%}  ", ""),
            (words, "dim"),
        )

    def _gpu_lines(self, gpus: _Gpus) -> Iterator[Line]:
        if gpus.absent:
            yield plain(gpus.absent, "dim")
            return
        for reading in gpus.read():
            yield plain(reading["title"], "title")
            yield self._bar("use", reading["use"], reading["power"])
            yield self._bar("memory", reading["memory"], reading["memory_words"])

    def _host_lines(self) -> Iterator[Line]:
        import psutil

        cores = psutil.cpu_percent(percpu=True)
        memory = psutil.virtual_memory()
        load = " ".join(f"{value:.2f}" for value in psutil.getloadavg())
        yield plain(f"CPU, {len(cores)} cores", "title")
        yield self._bar("use", sum(cores) / max(len(cores), 1) / 100, f"load {load}")
        words = f"{short_bytes(memory.total - memory.available)} of {short_bytes(memory.total)}"
        yield self._bar("memory", memory.percent / 100, words)
        folder = paths.home()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        try:
            disk = psutil.disk_usage(str(folder))
        except OSError as error:
            yield plain(f"  disk: {error.strerror}", "dim")
            return
        words = f"{short_bytes(disk.free)} free for {paths.home()}"
        yield self._bar("disk", disk.percent / 100, words)


class _Gpus:
    """The NVIDIA devices; `absent` says why there are none."""

    def __init__(self) -> None:
        self.absent = ""
        self._handles: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._handles = [
                pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
            ]
        except ImportError:
            self.absent = "No GPU readings: pip install nvidia-ml-py"
        except pynvml.NVMLError:
            self.absent = "No NVIDIA GPU on this machine."
        else:
            self.absent = "" if self._handles else "No NVIDIA GPU on this machine."

    def read(self) -> Iterator[dict[str, Any]]:
        """Of each device: title, use and memory as shares, and what stands beside them."""
        import pynvml

        for index, handle in enumerate(self._handles):
            try:
                name = pynvml.nvmlDeviceGetName(handle)
                use = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            except pynvml.NVMLError as error:
                words = {"use": 0.0, "power": str(error), "memory": 0.0, "memory_words": ""}
                yield {"title": f"GPU {index}", **words}
                continue
            yield {
                "title": f"GPU {index}  {name}",
                "use": use,
                "power": " ".join(_optional(handle)),
                "memory": memory.used / max(memory.total, 1),
                "memory_words": f"{short_bytes(memory.used)} of {short_bytes(memory.total)}",
            }


def _optional(handle: Any) -> Iterator[str]:
    """Temperature and power, which not every device tells."""
    import pynvml

    try:
        yield f"{pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)} °C"
        yield f"{pynvml.nvmlDeviceGetPowerUsage(handle) / 1000:.0f} W"
    except pynvml.NVMLError:
        return
