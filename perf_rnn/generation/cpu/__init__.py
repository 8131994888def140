"""One step of the network on the CPU, in NumPy."""
