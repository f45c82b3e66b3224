"""The paper's own example: item page views, from raw events to 128 bytes in the cloud."""
