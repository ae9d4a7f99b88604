"""Pointers of Git LFS: small texts that stand in a clone for large files, until these are fetched."""

_BEGINNING = b"version https://git-lfs.github.com/spec/"
#: The bytes that `is_lfs_pointer` needs.
LFS_HEAD_BYTES = len(_BEGINNING)

#: What such a file is, and what to do.
IS_POINTER = "it is a pointer of Git LFS, not the file itself: run git lfs pull"


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins so is a pointer of Git LFS."""
    return head.startswith(_BEGINNING)
