"""Engines and the loop that drives them: simulated cluster, real engines, recording, calibration."""
