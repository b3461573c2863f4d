"""Throughput measurements of `sensorium bench`."""
