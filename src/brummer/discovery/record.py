"""The record that an instance publishes in the directory: a versioned codec that trusts no input.

Three answers, never an exception: a `Record`, `Malformed` (no version writes that), or `Newer` (a later brummer
wrote it: leave it alone). Keys we don't know are ignored, so a later brummer may add some within a
version.
"""

import hashlib
import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from brummer.core.errors import BrummerError
from brummer.host.directories import real_path
from brummer.host.pids import ProcessIdentity

VERSION: Final = 1
TROUBLES: Final = 8
"""An instance has three long tasks and one black box."""
NAME_LENGTH: Final = 200
"""Of a directory it is 255 bytes at most, and a table shows less."""
LIMIT_BYTES: Final = 1 << 20
"""A record takes 600 bytes."""

# No control characters, no line or paragraph separators, nothing that reorders text: these go to terminals.
_UNPRINTABLE: Final = "\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_TEXT: Final = rf"\A[^{_UNPRINTABLE}]+\Z"
_LOOPBACK: Final = r"\Ahttp://(127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})(/[A-Za-z0-9/_.~-]*)?\Z"
_LAST_PORT: Final = 65535
_INSTANCE_ID: Final = r"\A[a-z0-9][a-z0-9-]{0,62}-[0-9a-f]{8}\Z"

_HOST_NAME: Final = r"\A[a-z0-9][a-z0-9.-]{0,62}\Z"

InstanceId = Annotated[str, Meta(pattern=_INSTANCE_ID)]
HostName = Annotated[str, Meta(pattern=_HOST_NAME)]
Generation = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{8,64}\Z")]
Name = Annotated[str, Meta(pattern=_TEXT, max_length=NAME_LENGTH)]
Directory = Annotated[str, Meta(pattern=_TEXT, max_length=4096)]
LoopbackUrl = Annotated[str, Meta(pattern=_LOOPBACK, max_length=200)]
Pid = Annotated[int, Meta(ge=1, lt=1 << 32)]
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
BootId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9-]{1,64}\Z")]
Utc = Annotated[str, Meta(pattern=r"\A\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d{1,9})?Z\Z")]
Token = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{32,256}\Z")]
Protocol = Annotated[str, Meta(pattern=_TEXT, max_length=64)]


class Trouble(msgspec.Struct, frozen=True):
    """A fault of the instance itself, such as a black box that can't be written."""

    code: Annotated[str, Meta(pattern=r"\A[a-z_]{1,64}\Z")]
    detail: Annotated[str, Meta(pattern=_TEXT, max_length=300)]

    @classmethod
    def of(cls, code: str, detail: str) -> "Trouble":
        """Shorten the detail so that it fits into any record."""
        return cls(code, displayable(detail)[:300] or code)


class Via(msgspec.Struct, frozen=True):
    """How this machine reaches an instance of another one. ``host``: that machine's name, as the user gave it."""

    host: HostName
    carrier: Literal["ssh", "nats"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one instance. ``url`` is on loopback, always; ``started_at`` is RFC 3339 in UTC; ``token`` is the
    secret that the instance requires, and is never shown. ``troubles``: the present ones; the record is written anew
    when they change. ``started_by``: the name of the agent for which it was started in the background. ``via``: None
    for an instance of this machine. For others ``url`` is the near end of the way there, and the process, the
    directory and the times are the other machine's. ``net_namespace``: that of its loopback; 0 if it is not known.
    """

    version: Annotated[int, Meta(ge=1)] = VERSION
    instance_id: InstanceId
    generation: Generation
    name: Name
    directory: Directory
    url: LoopbackUrl
    pid: Pid
    start_token: Count
    boot_id: BootId
    pid_namespace: Count
    time_namespace: Count = 0
    net_namespace: Count = 0
    started_at: Utc
    token: Token
    protocols: Annotated[tuple[Protocol, ...], Meta(max_length=16)] = ()
    troubles: Annotated[tuple[Trouble, ...], Meta(max_length=TROUBLES)] = ()
    started_by: Name | None = None
    via: Via | None = None

    def __repr__(self) -> str:
        return f"Record({self.key} {self.generation} pid={self.pid} {self.url})"

    @property
    def host_name(self) -> str:
        """The name of its machine; empty for this one."""
        return self.via.host if self.via else ""

    @property
    def key(self) -> str:
        """Names the instance among those of all machines: its id, or ``id@host``. Ids are the same where paths are."""
        return f"{self.instance_id}@{self.via.host}" if self.via else self.instance_id

    @property
    def identity(self) -> ProcessIdentity:
        return ProcessIdentity(self.boot_id, self.pid_namespace, self.pid, self.start_token, self.time_namespace)

    @property
    def is_further(self) -> bool:
        """Whether it was given a name, because its directory has an instance without one, or may have."""
        return self.instance_id != _id_for(self.directory, None)

    @property
    def host(self) -> str:
        """``127.0.0.1`` or ``::1``."""
        return "::1" if self.url.startswith("http://[") else "127.0.0.1"

    @property
    def port(self) -> int:
        found = re.match(_LOOPBACK, self.url)
        return int(found[2]) if found else 0


class Malformed(msgspec.Struct, frozen=True):
    """Not a record. ``detail`` says where it fails, and quotes nothing from the file."""

    filename: str
    detail: str


class Newer(msgspec.Struct, frozen=True):
    """A record of a later major version."""

    filename: str
    version: int


class RecordInvalid(BrummerError):
    """We were about to publish something that every hub would refuse."""

    code = "record_invalid"


class _Header(msgspec.Struct):
    version: Annotated[int, Meta(ge=1, lt=1 << 32)]


_json = msgspec.json.Encoder()
_header = msgspec.json.Decoder(_Header)
_record = msgspec.json.Decoder(Record)


def file_name(instance_id: str) -> str:
    """Where an instance of this id is published, within the directory."""
    return f"{instance_id}.json"


def encode(record: Record) -> bytes:
    """Raises RecordInvalid for a record that `decode` would not take back."""
    try:
        data = _json.encode(record)
    except UnicodeEncodeError as error:
        raise RecordInvalid("the record holds text that is not Unicode; see displayable()") from error
    read = decode(data, file_name(record.instance_id))
    if isinstance(read, Record):
        return data
    raise RecordInvalid(f"the record can't be published: {getattr(read, 'detail', 'its version is not ours')}")


def decode(data: bytes, filename: str) -> Record | Malformed | Newer:
    """The content of a file of this name; never raises.

    A record with ``via`` is malformed: who carries records of another machine here sets it, and no file does. So no
    other program can put an instance under the name of a machine.
    """
    try:
        version = _header.decode(data).version
        if version > VERSION:
            return Newer(filename, version)
        record = _record.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Malformed(filename, displayable(str(error))[:200])
    return _contradiction(record, filename) or record


def _contradiction(record: Record, filename: str) -> Malformed | None:
    """Rules that no pattern can express."""
    if filename != file_name(record.instance_id):
        return Malformed(filename, "the file is not named after its instance_id")
    if record.port > _LAST_PORT:
        return Malformed(filename, f"Expected a port up to {_LAST_PORT} - at `$.url`")
    if not Path(record.directory).is_absolute():
        return Malformed(filename, "Expected an absolute path - at `$.directory`")
    if record.via is not None:
        return Malformed(filename, "a file can't name another machine - at `$.via`")
    return None


def displayable(text: str) -> str:
    """The text with everything a record refuses, and a terminal should not see, replaced by U+FFFD."""
    return re.sub(f"[{_UNPRINTABLE}]", "\ufffd", text)


def instance_id_for(directory: Path, name: str | None = None) -> str:
    """The lasting id of the project in this directory, or of a further instance there that was given a name."""
    return _id_for(real_path(directory), name)


def _id_for(real: str, name: str | None) -> str:
    key = real if name is None else f"{real}\0{name}"
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:8]
    return f"{_slug(name or Path(real).name)}-{digest}"


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).lower().encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-") or "project"
