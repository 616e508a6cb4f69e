"""Where the bytes of large values lie outside SQL: a folder, or whatever fsspec reaches (S3 and its like).

The row in ``artifact`` is the claim check; the bytes are there before it is committed (``artifact_bytes.py``), so a
crash leaves at most bytes that no row names. A name is the SHA-256 of its bytes, so writing twice does no harm.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from gateway.errors import ConfigurationInvalid, Unavailable
from gateway.ids import new_id
from gateway.settings import DATABASE, mask_url

_PROBE = "probe"
_PART = "part"


class ArtifactPlace(Protocol):
    """Durable bytes by name, the same for every process that has this address."""

    @property
    def address(self) -> str:
        """As it may be shown: no password."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """The bytes are durable when it returns. ``Unavailable`` where they cannot be written."""
        ...

    def read(self, name: str) -> bytes | None:
        """``None`` where there are none of that name. ``Unavailable`` where the place does not answer."""
        ...

    def size(self, name: str) -> int | None:
        """Of the bytes, or ``None``; as ``read``."""
        ...

    def remove(self, name: str) -> None:
        """Nothing happens where there are none."""
        ...

    def names(self, first: str, before: float) -> list[str]:
        """Of bytes whose name begins with ``first``, two characters, and that were last written before that time
        (seconds since 1970); nothing where the place cannot tell when. As ``read``."""
        ...


class FolderPlace:
    """Files ``ab/abcd…`` of a folder, each written beside its name, synced, and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def address(self) -> str:
        return str(self._folder)

    def write(self, name: str, content: bytes) -> None:
        file = self._file(name)
        beside = file.with_name(f".{new_id(_PART)}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("xb") as out:
                    out.write(content)
                    out.flush()
                    os.fsync(out.fileno())
                beside.replace(file)
            finally:
                beside.unlink(missing_ok=True)
            # the name must outlive a power cut as the bytes do, and so must that of its folder
            for folder in (file.parent, self._folder):
                _sync(folder)
        except OSError as error:
            raise _unavailable(self.address, error) from error

    def read(self, name: str) -> bytes | None:
        try:
            return self._file(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(self.address, error) from error

    def size(self, name: str) -> int | None:
        try:
            return self._file(name).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(self.address, error) from error

    def remove(self, name: str) -> None:
        try:
            self._file(name).unlink(missing_ok=True)
        except OSError as error:
            raise _unavailable(self.address, error) from error

    def names(self, first: str, before: float) -> list[str]:
        """What a process that died left half written goes on the way."""
        found = []
        try:
            for file in (self._folder / first).iterdir():
                if file.stat().st_mtime >= before:
                    continue
                if file.name.startswith(f".{_PART}"):
                    file.unlink(missing_ok=True)
                else:
                    found.append(file.name)
        except FileNotFoundError:  # of the folder, or of a file that another process removed: the next look goes on
            return found
        except OSError as error:
            raise _unavailable(self.address, error) from error
        return found

    def _file(self, name: str) -> Path:
        return self._folder / name[:2] / name


class RemotePlace:
    """Objects below a URL of fsspec, such as ``s3://bucket/prefix``: an object is there whole or not at all."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._core = import_module("fsspec.core")
            self._at("")
        except ImportError as error:
            raise ConfigurationInvalid(
                f"GATEWAY_ARTIFACTS needs a package that is not installed: {error}",
                mend="install fsspec and the package of its protocol (s3fs for s3://)",
            ) from error
        except ValueError as error:
            raise ConfigurationInvalid(
                f"GATEWAY_ARTIFACTS is no URL that fsspec knows: {error}",
                mend="write it as s3://bucket/prefix, or as a path",
            ) from error

    @property
    def address(self) -> str:
        return mask_url(self._url)

    def write(self, name: str, content: bytes) -> None:
        try:
            files, path = self._at(name)
            files.pipe_file(path, content)
        except Exception as error:
            raise _unavailable(self.address, error) from error

    def read(self, name: str) -> bytes | None:
        try:
            files, path = self._at(name)
            return bytes(files.cat_file(path))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _unavailable(self.address, error) from error

    def size(self, name: str) -> int | None:
        try:
            files, path = self._at(name)
            files.invalidate_cache()  # what another process wrote or removed meanwhile
            return int(files.size(path))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _unavailable(self.address, error) from error

    def remove(self, name: str) -> None:
        try:
            files, path = self._at(name)
            files.rm_file(path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise _unavailable(self.address, error) from error

    def names(self, first: str, before: float) -> list[str]:
        try:
            files, folder = self._at("")
            files.invalidate_cache()
            found = []
            # the prefix saves S3 the listing of all others; who does not know it lists them
            for path, told in files.find(folder, prefix=first, detail=True).items():
                name = str(path).rpartition("/")[2]
                if not name.startswith(first):
                    continue
                written = told.get("LastModified") or files.modified(path)
                if written.timestamp() < before:
                    found.append(name)
            return found
        except (FileNotFoundError, NotImplementedError):
            return []
        except Exception as error:
            raise _unavailable(self.address, error) from error

    def _at(self, name: str) -> tuple[Any, str]:
        """The file system and the path in it. Asked anew each time: fsspec keeps one for each process, and one that
        was opened before a fork does not work after it."""
        files, path = self._core.url_to_fs(f"{self._url}/{name}")
        return files, str(path)


def open_place(address: str) -> ArtifactPlace | None:
    """The place of ``GATEWAY_ARTIFACTS``; ``None`` where the bytes stay in the database."""
    if address == DATABASE:
        return None
    scheme = urlsplit(address).scheme
    if scheme in ("", "file"):
        return FolderPlace(Path(address.removeprefix("file://")).expanduser().absolute())
    return RemotePlace(address)


def checked_place(address: str) -> ArtifactPlace | None:
    """As ``open_place``, after something was written there, read and removed. ``ConfigurationInvalid`` otherwise."""
    place = open_place(address)
    if place is None:
        return None
    name = new_id(_PROBE)
    try:
        place.write(name, name.encode())
        found = place.read(name)
        place.remove(name)
    except Unavailable as error:
        raise ConfigurationInvalid(
            error.message, mend=f"make it writable, or set GATEWAY_ARTIFACTS to {DATABASE}"
        ) from error
    if found != name.encode():
        raise ConfigurationInvalid(
            f"{place.address} did not give back what was written there", mend="set GATEWAY_ARTIFACTS to another place"
        )
    return place


def _unavailable(address: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"artifacts cannot be kept or read in {address}: {type(error).__name__}: {error}"[:500],
        mend="see that the place of GATEWAY_ARTIFACTS exists and has room; `ai-gateway doctor` tries it",
        retry_after=5.0,
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
