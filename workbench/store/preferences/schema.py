"""The tables of `preferences.db`, as the steps that lead from one version to the next.

A step that was ever released is never changed: what follows is a new one.

Texts of prompts and answers, and all settings, are JSON in ASCII, so that half a surrogate pair, which a
model may well write, is kept as it is.
"""

from __future__ import annotations

APPLICATION_ID = 0x4C57_4250
"""SQLite's mark of whose file it is: “LWBP”."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sessions (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created REAL NOT NULL,
            seed INTEGER NOT NULL,
            settings TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE prompts (
            id INTEGER PRIMARY KEY,
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            digest TEXT NOT NULL,
            content TEXT NOT NULL,
            system TEXT,
            tools TEXT,
            extra TEXT,
            UNIQUE (session, digest)
        ) STRICT""",
        """CREATE TABLE answers (
            id INTEGER PRIMARY KEY,
            prompt INTEGER NOT NULL REFERENCES prompts ON DELETE CASCADE,
            model TEXT NOT NULL,
            sampling TEXT NOT NULL,
            sample INTEGER NOT NULL,
            content TEXT NOT NULL,
            finish_reason TEXT,
            tokens INTEGER,
            generated REAL,
            UNIQUE (prompt, model, sampling, sample)
        ) STRICT""",
        """CREATE TABLE items (
            id INTEGER PRIMARY KEY,
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            prompt INTEGER NOT NULL REFERENCES prompts ON DELETE CASCADE,
            position INTEGER NOT NULL,
            answers TEXT NOT NULL,
            UNIQUE (session, position),
            UNIQUE (prompt, answers)
        ) STRICT""",
        # AUTOINCREMENT: a number is never used again, so that the order of the log is that of its numbers.
        """CREATE TABLE actions (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
            mark TEXT NOT NULL,
            annotator TEXT NOT NULL,
            item INTEGER REFERENCES items ON DELETE CASCADE,
            occasion INTEGER NOT NULL DEFAULT 0,
            kind TEXT NOT NULL,
            value TEXT NOT NULL,
            shown TEXT,
            milliseconds INTEGER,
            time REAL,
            target INTEGER REFERENCES actions ON DELETE CASCADE,
            UNIQUE (session, mark)
        ) STRICT""",
        "CREATE INDEX answers_of_prompt ON answers (prompt)",
        "CREATE INDEX actions_of_item ON actions (item)",
        "CREATE INDEX actions_of_annotator ON actions (session, annotator, id)",
    ),
)
VERSION = len(MIGRATIONS)
