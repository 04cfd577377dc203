"""What came out of training, written for other programs, in a process of its own.

`workbench.store.exporter.exported(…)` gives this mapping. The one request, `export`, takes

    name: a run (its final model), a folder (of a checkpoint too), a fetched model, a hub name;
    format: "safetensors" | "gguf" | "ollama"; to: the folder to make; dtype: one of `dtypes.DTYPES`, or
    "auto" (as the weights are stored); force: replace an earlier export

and answers

    {format, folder, model, base_model: str|None, architecture, dtype, parameters,
     files: [{name, bytes, sha256}], notes: [str] (what is other in that format than it was here)}

It raises `WorkbenchError`s. The folder is written aside, synced and renamed: it is whole or not there.
"""
