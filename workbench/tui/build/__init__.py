"""The parts of the Build tab."""
