"""The path from a predictor of text to one that people prefer, small: `workbench quickstart --align`."""
