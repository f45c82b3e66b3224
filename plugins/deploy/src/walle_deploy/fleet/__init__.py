"""A simulated fleet: many devices that ask, install, run and report, in one process or through sockets."""
