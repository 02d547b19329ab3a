"""What every training of a network shares: devices, determinism, the loop, schedules, files that are whole."""
