"""Stores in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

Below an address such as s3://bucket/prefix:

store.json                  which edition is there now, and the hash of its list of contents: all that is ever replaced
<edition>/…                 the store's files, as in its folder: plain Zarr, which other programs open as well
<edition>/contents/…        lists of what is there, by their SHA-256; see `contents`

In an edition nothing is replaced but the metadata that name its years: a program that reads one is not disturbed by
what is added, nor by a new edition. `push` and `pull` copy; `snapshot` reads, in `pages` that are kept on the disk.
"""
