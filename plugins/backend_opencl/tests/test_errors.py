"""What a driver's errors become: the kinds that a Session can answer by planning on other backends."""

import pyopencl as cl
import pytest
from walle_backend_opencl import open_device
from walle_backend_opencl.device import translated

from walle_core.errors import DeviceError, DeviceLostError, DeviceMemoryError


class Status(cl.Error):
    def __init__(self, name):
        super().__init__(f"clFinish failed: {name}")
        self.name = name

    @property
    def code(self):
        return getattr(cl.status_code, self.name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("MEM_OBJECT_ALLOCATION_FAILURE", DeviceMemoryError),
        ("OUT_OF_RESOURCES", DeviceMemoryError),
        ("DEVICE_NOT_AVAILABLE", DeviceLostError),
        ("INVALID_COMMAND_QUEUE", DeviceLostError),
        ("INVALID_KERNEL_ARGS", DeviceError),
    ],
)
def test_kinds(name, kind):
    found = translated(Status(name), "a device", "a run")
    assert type(found) is kind
    assert str(found) == f"a device: a run failed (clFinish failed: {name})"


@pytest.mark.skipif(open_device() is None, reason="no OpenCL device on this machine")
def test_a_buffer_that_no_device_has_memory_for():
    device = open_device()
    with pytest.raises(DeviceMemoryError, match="a test failed"), device.errors("a test"):
        cl.Buffer(device.context, cl.mem_flags.READ_WRITE, 1 << 50)
