"""Measuring a prompt and a technique on a data set: every item asked, every transcript kept. No torch."""
