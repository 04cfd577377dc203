"""Labelled records of a task: read, checked, split, tokenised, and given out in batches."""

from workbench.data.records.checking import CHECKS
from workbench.data.records.encoding import encode_records
from workbench.data.records.preference_store import PreferenceStore
from workbench.data.records.prepare import PreparedRecords, prepare_records
from workbench.data.records.reading import Record, RecordSource
from workbench.data.records.rows import RowOrder, TaskRows
from workbench.data.records.store import ExampleStore

__all__ = [
    "CHECKS",
    "ExampleStore",
    "PreferenceStore",
    "PreparedRecords",
    "Record",
    "RecordSource",
    "RowOrder",
    "TaskRows",
    "encode_records",
    "prepare_records",
]
