"""The parts of the Playground: models and techniques to choose, what is written, what comes back."""
