"""The training worker: `python -m workbench.training RUN_DIR`."""
