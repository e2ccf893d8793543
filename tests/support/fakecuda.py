"""A CUDA of so many devices, none of which is there: it notes what it is asked for.

Streams do their work at once. What the device has come to, `time` says: events take it.
"""

from contextlib import contextmanager

from mmtrain.training.device import Cuda


class FakeEvent:
    def __init__(self, cuda):
        self.cuda, self.at = cuda, None

    def record(self):
        self.at = self.cuda.time

    def query(self):
        return self.at <= self.cuda.reached

    def elapsed_time(self, end):
        assert self.query()
        assert end.query()
        return 1e3 * (end.at - self.at)


class FakeStream:
    def __init__(self, cuda, name):
        self.cuda, self.name = cuda, name

    def wait_event(self, event):
        self.cuda.calls.append(("wait", self.name))


class FakeCuda(Cuda):
    def __init__(self, devices=1):
        self.devices, self.calls = devices, []
        self.time, self.reached, self.kept = 0.0, float("inf"), []

    def device_count(self):
        return self.devices

    def set_device(self, index):
        self.calls.append(("set_device", index))

    def tune(self):
        self.calls.append(("tune",))

    def stream(self, device):
        return FakeStream(self, "copies")

    def current_stream(self, device):
        return FakeStream(self, "computing")

    @contextmanager
    def using(self, stream):
        self.calls.append(("copy", stream.name))
        yield

    def keep(self, tensor, stream):
        self.kept.append((tensor, stream.name))

    def event(self):
        return FakeEvent(self)
