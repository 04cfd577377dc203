"""The parts of the guard: what it sees, what it says, how it goes back."""
