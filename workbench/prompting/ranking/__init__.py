"""Sessions of ranking made from prompts, and their answers, generated ahead by a process of its own.

Whoever shows a session needs three functions of `control`. All take a `Session`, take a millisecond or
two, need no torch, and may be called from any thread and any process:

    ensure_generating(session)              start the generator where answers are missing and none is at work
    generation_status(session)              how far it is, or why it ended: a `GenerationStatus`
    stop_generating(session)                ask it to end; what it has made is kept

`ensure_generating` may be called whenever a session is opened and from a timer as well: one that has failed
or was stopped is left as it is until it is called with `again=True`, which also tries once more what failed
for single prompts. A session whose answers came from a file has the state `idle`, for ever.

Answers come in the order in which annotators see their prompts; an item is added to the session when all
its answers are there, so that `Annotator.refresh()` finds it. A model that failed for a prompt is left out
of its item, if two answers remain, and counted in `GenerationStatus.failures`. An answer that was cut at
`max_tokens` has the `finish_reason` `length`.
"""
