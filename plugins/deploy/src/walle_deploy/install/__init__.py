"""What a device does with a release: fetches its files, installs them atomically, goes back to the last good version."""
