"""Data and models inspected in a process of its own, for an interface that may import neither torch nor data.

`workbench.store.inspector.Inspector().request(NAME, **arguments)` gives these mappings. Text in them is as
it stands in the data: whoever shows it must show control characters literally. Every request raises
`WorkbenchError`s. A *source* is a path or a mapping of `SourceSpec`; a *recipe* a mapping of `Recipe`;
a *problem* is `{title, message, where, hint}`, all strings.

`sources` (data: mapping of DataSection; seconds=20.0: most that counting one source may take)
    {sources: [{path, side: "train"|"eval", weight, files: [{path, bytes}] (200 at most), num_files, bytes,
                records: int, complete: bool (False: at least so many),
                kind: str|None (None: it fits none), why: str,
                columns: [{name, types: {"string": 12, …}, example: str}] (of the first 1,000 records),
                problems: [problem] (20 at most), num_problems}]}
    `bytes` and `files` are empty for a data set of the hub. A source that cannot be read has problems,
    no kind and no records.

`records` (source; start=0; count=20, 500 at most)
    {start, records: [record], more: bool (whether there may be others behind)}
    record: {index, where: "file:line", values: {column: JSON value},
             cut: {"messages.0.content": full length} (what was shortened to 2,000 characters, 200 items)}

`search` (source; text; start=0; count=1)
    {index: int|None (the first that matches), records: [record], searched: int,
     next: int|None (where to go on; None: the source was read to its end)}
    In all columns, in any case.

`tokens` (text; tokenizer: name, or recipe)
    {tokenizer: name or "trained", vocab_size,
     tokens: [{id, piece, text, bytes: int, hex: "e4 b8", special: bool, start, end (characters of the text)}]
             (20,000 at most),
     num_tokens, frame_tokens (of these, put around the text), unknown_tokens, num_bytes, num_characters,
     bytes_per_token: float|None, characters_per_token: float|None (the frame left out)}
    `piece` is what the vocabulary holds, `text` what it stands for; bytes that are no whole character are
    written `\\xe4` in it.

`vocabulary` (tokenizer, or recipe; start=0; count=100; search="")
    {tokenizer, vocab_size, found: int (entries that match), start,
     entries: [{id, piece, text, bytes, hex, special}]}

`train_tokenizer` (recipe; vocab_size; output: folder, new or empty; kind: "bpe"|"wordpiece"|"unigram")
    {output, kind, vocab_size (as it came out), asked, measured_on: "held-out text"|"training text",
     num_bytes, num_characters, new: measure, old: measure|None, old_name: str|None}
    measure: {vocab_size, tokens, bytes_per_token, unknown_tokens, lossless: bool}

`batch` (recipe; side="train"|"eval"; start=0; count=4): rows as the objective will see them
    {objective, side, start, length (tokens in a row, at most), rows_per_epoch,
     rows: [{index, label: str, notes: [str],
             streams: [{name: "input"|…,
                        tokens: [{id, text, state, position, document, target: int|None,
                                  target_text: str|None, original: int|None, original_text: str|None, note}],
                        attends: [[[first, last], …] for each token]: runs of places that it sees,
                        cross: the same into the first stream, or None}]}],
     states: {state: count} (of these rows), labels: {label: count} (of a task's training records, or {}),
     report: {rows, tokens, padding, efficiency, cropped, …} (of the first epoch, or {}),
     left_out: {reason in words: count},
     data: {documents, tokens, bytes, bytes_per_token, eval_documents, eval_tokens, eval_bytes, split,
            dropped_from_train, blank_documents, invalid_utf8, cut_files, truncated?, label_counts?, …},
     lengths: [{from, to, count, tokens}], length_summary: {count, min, median, mean, max}} (documents or
     examples of the side, by their tokens; a bin is twice as wide as the one before)
    `state` is one of `workbench.objectives.view.State`; `document` counts in the row, −1 is padding.

`model` (name: folder, .gguf file or hub name; revision=None): no weights are loaded, no code is run
    {name, format: "safetensors"|"gguf"|"adapter", folder, architecture, config: {…}, base_model: str|None,
     parameters, bytes (both of the weights found), dtypes: {"F32": parameters, …},
     groups: [{name, layer: bool, parameters, bytes,
               tensors: [{name, shape: [int], dtype, parameters, bytes, file}]}],
     tokenizer: None | {kind, class, vocab_size, max_length: int|None, special: [{role, token, id}],
                        sample: {text, tokens: [as in `vocabulary`]}},
     chat: None | {template, messages: [{role, content}], rendered: str|None},
     files: [{path, bytes}], problems: [problem]}

`soft_prompt` (name: folder of PEFT's; count=5): its base model is loaded
    {name, kind: "prompt tuning"|"prefix tuning"|"p-tuning", length, base,
     nearest: None (of a prefix) | [[{token: id, text, cosine, l2}] for each virtual token]}
"""
