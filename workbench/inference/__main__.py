"""`python -m workbench.inference MODEL`: load a model and serve it until told to stop."""

from workbench.inference.worker import main

if __name__ == "__main__":
    raise SystemExit(main())
