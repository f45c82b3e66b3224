"""Backends of devices with memory and kernels of their own: OpenCL, Vulkan, Metal (docs/device-kernels.md, ADR 18)."""
