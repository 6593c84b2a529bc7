"""What kind of file system a path is on: whether it is memory, and whether it reports changes."""

import sys
from pathlib import Path
from typing import Final

MEMORY: Final = frozenset({"tmpfs", "ramfs"})
"""Lost with the power anyway, so fsync there buys nothing."""

SHARED: Final = frozenset(
    {
        "nfs",
        "smb",
        "smbfs",
        "cifs",
        "9p",
        "fuse",
        "afs",
        "afpfs",
        "webdav",
        "ceph",
        "lustre",
        "vboxsf",
        "macfuse",
        "osxfuse",
        "fusefs",
        "virtiofs",
        "AppleVirtIOFS",
    }
)
"""Other machines may write there: their changes raise no event here, and their pids and boots are not ours."""

if sys.platform == "linux":
    import ctypes
    import os

    from brummer.host.libc import check, function

    # <linux/magic.h>; the names are those of mount(8).
    _NAMES: Final = {
        0x01021994: "tmpfs",
        0x858458F6: "ramfs",
        0x0000EF53: "ext4",
        0x9123683E: "btrfs",
        0x58465342: "xfs",
        0x794C7630: "overlay",
        0x2FC12FC1: "zfs",
        0x00006969: "nfs",
        0x0000517B: "smb",
        0xFE534D42: "smb",
        0xFF534D42: "cifs",
        0x01021997: "9p",
        0x65735546: "fuse",
        0x5346414F: "afs",
        0x00C36400: "ceph",
        0x0BD00BD0: "lustre",
        0x786F4256: "vboxsf",
    }

    def filesystem_name(path: Path) -> str:
        """The name of the file system under ``path``, in hexadecimal when we have none. Raises OSError."""
        answer = (ctypes.c_long * 64)()  # struct statfs is 120 bytes; its first long is f_type
        check(function("statfs")(os.fsencode(path), answer), str(path))
        magic = answer[0] & 0xFFFFFFFF
        return _NAMES.get(magic, hex(magic))

else:
    from brummer.host.macos.library import system_library

    def filesystem_name(path: Path) -> str:
        """The name of the file system under ``path``. Raises OSError."""
        return system_library().filesystem_name(path)


def is_tmpfs(path: Path) -> bool:
    """Files here live in memory. False if unknown."""
    try:
        return filesystem_name(path) in MEMORY
    except OSError:
        return False


def filesystem_has_events(path: Path) -> bool:
    """All changes to files here are made by this machine, and announced. True if unknown."""
    try:
        return filesystem_name(path) not in SHARED
    except OSError:
        return True
