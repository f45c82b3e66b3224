"""The device's side of the platform: checks, installs, runs tasks when events trigger them, reports, goes back by itself."""
