"""The fleet of the demonstration: a server, simulated devices, a real agent, and three versions of a task."""
