"""The real-time tunnel: features from devices to the cloud, each counted exactly once."""
