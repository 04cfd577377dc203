"""Cleaning a corpus: rules, personal data, copies, test questions; on one machine, Slurm or Ray.

A cleaning is a chain of stages, each a datatrove pipeline over the shards of the corpus. Steps that look at
one record (`steps/`) are blocks of such a pipeline; steps that look at all records (`copies/`, boilerplate)
collect signatures in one stage, find what recurs in the next, and filter in the one after. Shards follow from
the input alone, so that the result does not depend on the number of workers; whatever a task writes appears
under its name only when it is whole, so that a cleaning that was killed goes on where it was.
"""
