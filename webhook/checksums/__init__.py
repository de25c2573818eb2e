"""Checksums of Secrets and ConfigMaps in pod templates; the contract is in `docs/checksums.md`."""
