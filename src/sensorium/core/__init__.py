"""The nine words. Imports torch and numpy, and nothing else of Sensorium."""
