"""Costs of a step that can be counted: passes through encoders, and waits for a device."""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operations whose result the CPU needs before it goes on.
_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "bincount")
_BY_MASK = ("index", "index_put_", "index_put")
_FETCHING = (torch.Tensor.cpu, torch.Tensor.tolist, torch.Tensor.numpy)
_MOVING = (torch.Tensor.to, torch.Tensor.cuda)


class Waits(TorchFunctionMode):
    """Counts how often the CPU would wait for a GPU, had the model been on one.

    Tensors that are made without a device and without other tensors, as by a generator of the CPU,
    are on the CPU anyway, and so is what is computed from them alone.
    """

    def __init__(self):
        super().__init__()
        self.count, self._host, self._kept, self._exempt = 0, set(), [], False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [*_tensors((args, kwargs))]
        by_itself = all(id(t) in self._host for t in tensors)
        self.count += func in _FETCHING and not by_itself
        self.count += self._copies_to_device(func, args, kwargs)
        # Looks at its values on a CPU only.
        counted = func is torch.nn.functional.one_hot or func is torch._C._nn.one_hot
        before, self._exempt = self._exempt, self._exempt or by_itself or counted
        try:
            result = func(*args, **kwargs)
        finally:
            self._exempt = before
        stays = by_itself and func not in _MOVING and kwargs.get("device") is None
        if stays or func is torch.Tensor.cpu:
            self._kept += _tensors(result)
            self._host = {id(tensor) for tensor in self._kept}
        return result

    def _copies_to_device(self, func, args, kwargs):
        """Whether a call waits to copy values of the CPU to the device."""
        if func is torch.tensor or func is torch.Tensor.new_tensor:
            return kwargs.get("device") is not None or func is torch.Tensor.new_tensor
        places = (torch.device, torch.Tensor, str)
        moved = kwargs.get("device") is not None or any(isinstance(a, places) for a in args[1:])
        from_host = func in _MOVING and id(args[0]) in self._host
        return from_host and moved and not kwargs.get("non_blocking", False)

    def wait(self):
        """Counts a wait, unless it is for what is on the CPU."""
        self.count += not self._exempt


class _Operations(TorchDispatchMode):
    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in _WAITING or (name in _BY_MASK and _has_mask(args[1])):
            self.waits.wait()
        return func(*args, **(kwargs or {}))


@contextmanager
def counting_waits():
    """Counts the waits inside, see `Waits`."""
    waits = Waits()
    with _Operations(waits), waits:
        yield waits


class Passes:
    """Counts the samples that go forward and back through each of a model's `small-cnn`s."""

    def __init__(self, model):
        self.forward = dict.fromkeys(model.modalities, 0)
        self.backward = dict.fromkeys(model.modalities, 0)
        for modality, encoder in model.encoders.items():
            encoder.body[0].register_forward_hook(self._hook(modality))

    def _hook(self, modality):
        def passed(module, inputs, maps):
            self.forward[modality] += len(maps)
            return _Counted.apply(maps, self.backward, modality)

        return passed


class _Counted(torch.autograd.Function):
    """Passes maps on, and counts the gradients that come back as far as here."""

    @staticmethod
    def forward(ctx, maps, counts, modality):
        ctx.counts, ctx.modality, ctx.samples = counts, modality, len(maps)
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx, gradient):
        ctx.counts[ctx.modality] += ctx.samples
        return gradient, None, None


def _has_mask(indices):
    masks = (torch.bool, torch.uint8)
    return any(i is not None and i.dtype in masks for i in indices)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors([*value.values()])
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
