"""Sources → documents → tokens on disk → packed rows. Each stage streams; nothing needs to fit in memory."""
