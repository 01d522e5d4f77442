"""LINTUL5: a daily crop model, limited by water and nitrogen, batched over cells, with gradients through a season."""
