"""Our side of measurements in which the engine runs without a server. Each module is a command that prints JSON."""
