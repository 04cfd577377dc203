"""Fitting laws to measured losses: parametric (approach 3), IsoFLOP parabolas (approach 2), fixed ratio."""
