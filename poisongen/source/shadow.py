"""Names that are no part of a dataset: hidden files, and what systems and network storage leave beside real ones."""

from __future__ import annotations

_BEGINNINGS = (
    ".",  # hidden: ._x (macOS), .DS_Store, .ipynb_checkpoints, .nfs*, .fuse_hidden*, .@__thumb, .git, .Trash-1000
    "~$",  # a document that is open in an office program
)
_NAMES = frozenset({
    "$recycle.bin", "system volume information", "recycler", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db",
    "desktop.ini", "icon\r", "__macosx", "network trash folder", "temporary items", "lost+found",
    "@eadir", "@tmp", "@sharebin", "_gsdata_", "thevolumesettingsfolder", "found.000",
    "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "~snapshot",
})  # fmt: skip


def is_shadow_name(name: str) -> bool:
    """Tell whether a file or folder of that name is hidden or a system's own: never a sample, nor a list."""
    return name.startswith(_BEGINNINGS) or name.casefold() in _NAMES


def is_shadow(path: str) -> bool:
    """Tell whether a path with '/' is, or lies below, something hidden or a system's own."""
    return any(map(is_shadow_name, path.split("/")))
