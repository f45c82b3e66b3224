"""Backends of devices with memory of their own, whose plugins translate shared kernels (docs/device-kernels.md, ADR 18)."""
