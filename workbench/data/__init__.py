"""Sources → documents → tokens on disk → packed rows. Each stage streams; nothing needs to fit in memory."""

from workbench.data.pipeline import Prepared, prepare
from workbench.data.rows import Batch, PackedRows, Row
from workbench.data.token_store import TokenStore

__all__ = ["Batch", "PackedRows", "Prepared", "Row", "TokenStore", "prepare"]
