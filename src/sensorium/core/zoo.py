"""Trained agents by name: those of the checkout or of the installed package, and those fetched from the store that SENSORIUM_ZOO names.

A store is a folder or any fsspec URL (http, s3, hf, ...) that holds `index.json` and the agents' folders. The index gives the size and the
SHA-256 of every file; nothing that does not match it is kept. `python -m sensorium.core.zoo FOLDER` writes the index of a folder of agents.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from sensorium.core.errors import Failure, Usage, nearest

CHECKOUT, PACKAGED = Path(__file__).resolve().parents[3] / "zoo", Path(__file__).resolve().parents[1] / "zoo"
FOLDER = CHECKOUT if CHECKOUT.is_dir() else PACKAGED
"""the agents at hand: all of them in a checkout, those under 1 MB in an installed package"""

STORE = "SENSORIUM_ZOO"
"""the environment variable that names the store"""

INDEX_BYTES = 4_000_000
"""an index above this size is refused"""

ATTEMPTS, SECONDS = 3, 20.0
"""attempts for each file, and how long a server may send nothing"""

Files = dict[str, tuple[int, str]]
"""path within a folder -> (bytes, SHA-256)"""


def needs(agent: Path) -> list[str]:
    """Names of the agents of whose stages this one makes use, as its cards name them: ../../NAME/STAGE."""
    places = [place for card in agent.glob("*-*/card.json") for place in json.loads(card.read_bytes())["stage"].values()]
    return sorted({place.split("/")[2] for place in places if isinstance(place, str) and place.startswith("../../")})


def index(folder: Path) -> dict[str, Any]:
    """What `index.json` says of a folder of agents: {"agents": {name: {"needs": [name], "files": {path: {"bytes": n, "sha256": hex}}}}}."""
    agents = {}
    for agent in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = {}
        for path in sorted(agent.glob("*-*/*")):
            if path.suffix in {".json", ".jsonl", ".safetensors"}:
                data = path.read_bytes()
                files[path.relative_to(agent).as_posix()] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        agents[agent.name] = {"needs": needs(agent), "files": files}
    return {"agents": agents}


def at_hand(*names: str) -> Path | None:
    """The folder of the first of these agents that the zoo at hand holds."""
    return next((FOLDER / name for name in names if (FOLDER / name).is_dir()), None)


def located(folder: Path) -> Path:
    """A folder that exists as it is; `zoo/NAME` and `zoo/NAME/STAGE` that do not exist here, in the zoo at hand, the cache or the store.

    A folder that is none of these is returned unchanged. Errors: Usage where the zoo at hand lacks NAME and no store is named, or the store
    does not have it; Failure where the store does not answer or its files do not match its index.
    """
    parts = folder.parts
    if folder.is_dir() or "zoo" not in parts[-3:-1] or ".." in parts:
        return folder
    name, *stage = parts[len(parts) - parts[::-1].index("zoo") :]
    agent = FOLDER / name
    return (agent if agent.is_dir() else fetched(name)).joinpath(*stage)


def fetched(name: str) -> Path:
    """The folder of an agent in the cache, filled from the store if it is not there yet. Errors: as `located`."""
    url = os.environ.get(STORE)
    if not url:
        raise Usage(
            f"no agent zoo/{name} here; here are {', '.join(sorted(path.name for path in FOLDER.glob('*') if path.is_dir())) or 'none'}; for others "
            f"set {STORE} to a folder or URL that holds the zoo, such as the zoo/ of a source checkout"
        )
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "sensorium"
        / "zoo"
        / hashlib.sha256(url.encode()).hexdigest()[:12]
    )
    if (cache / name).is_dir():
        return cache / name
    with answering(url):
        opened = _opener(url)
        agents = _agents(b"".join(_read(opened, "index.json", INDEX_BYTES)), url)
        if name not in agents:
            raise Usage(nearest(name, list(agents), f"agent in {url},"))
        try:
            cache.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".", dir=cache))
        except OSError as error:
            raise Failure(f"cannot write to {cache}: {error.strerror}") from error
        missing = [part for part in (*agents[name][0], name) if not (cache / part).is_dir()]
        files = {f"{part}/{path}": file for part in missing for path, file in agents[part][1].items()}
        try:
            _download(opened, name, files, draft)
            for part in missing:
                with suppress(OSError):  # another process may have been faster
                    (draft / part).rename(cache / part)
                if not (cache / part).is_dir():
                    raise Failure(f"cannot write to {cache}")
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return cache / name


Opener = Callable[[str], BinaryIO]


def _opener(url: str) -> Opener:
    """A function that opens a file of the store, by its path relative to the index."""
    import fsspec

    options: dict[str, Any] = {}
    if url.startswith(("http://", "https://")):
        import aiohttp

        options = {
            "client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=SECONDS, sock_read=SECONDS)},
            "block_size": 0,
        }
    filesystem, root = fsspec.core.url_to_fs(url, **options)
    return lambda path: filesystem.open(f"{root.rstrip('/')}/{path}", "rb")


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn what a store's library raises into one sentence."""
    try:
        yield
    except (Usage, Failure):
        raise
    except ImportError as error:
        extra = "pip install 'sensorium[remote]'" if url.startswith("http") else "install the package that it names"
        raise Usage(f"{STORE}={url}: {error}; {extra}") from error
    except Exception as error:  # each kind of store raises its own
        raise Failure(f"{STORE}={url}: {type(error).__name__}: {error or 'no answer'}") from error


def _read(opened: Opener, path: str, limit: int) -> Iterator[bytes]:
    """The bytes of a file of the store in pieces, at most `limit` of them. Errors: Failure beyond the limit."""
    read = 0
    with opened(path) as file:
        while piece := file.read(1 << 16):
            read += len(piece)
            if read > limit:
                raise Failure(f"{path} has more than the {limit:,} bytes that are allowed")
            yield piece


def _agents(data: bytes, url: str) -> dict[str, tuple[list[str], Files]]:
    """The index, checked: the agents that an agent needs, and its files, whose paths stay within its folder. Errors: Failure."""
    try:
        agents = {
            str(name): (
                [str(part) for part in agent.get("needs", [])],
                {str(path): (int(file["bytes"]), str(file["sha256"])) for path, file in agent["files"].items()},
            )
            for name, agent in json.loads(data)["agents"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Failure(f"{url}/index.json is damaged or no index of agents") from error
    for name, (needed, files) in agents.items():
        if unknown := set(needed) - set(agents):
            raise Failure(f"{url}/index.json: {name} needs {min(unknown)}, which is not there")
        for path in (PurePosixPath(name), *map(PurePosixPath, files)):
            if path.is_absolute() or ".." in path.parts or "\\" in str(path) or not path.parts:
                raise Failure(f"{url}/index.json names a path outside the zoo: {path}")
    return agents


def _download(opened: Opener, name: str, files: Files, folder: Path) -> None:
    """Fetch the files of an agent and of those that it needs into a folder, each checked by size and SHA-256, with progress in kilobytes."""
    from sensorium.core.log import Bar

    done, total = 0, max(sum(size for size, _ in files.values()), 1)
    print(f"sensorium: fetching zoo/{name}, {total / 1e6:.1f} MB, from {os.environ[STORE]}", file=sys.stderr)
    bar = Bar(f"zoo/{name} (kB)", 0, -(-total // 1000))
    try:
        for path, (size, checksum) in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    with target.open("wb") as out:
                        for piece in _read(opened, path, size):
                            out.write(piece)
                            bar.update((done + out.tell()) // 1000, {})
                    if target.stat().st_size != size or hashlib.sha256(target.read_bytes()).hexdigest() != checksum:
                        raise Failure(f"zoo/{path} does not match the checksum in index.json; nothing was kept")
                    break
                except Exception:
                    if attempt == ATTEMPTS:
                        raise
            done += size
    finally:
        bar.close()


if __name__ == "__main__":
    _folder = Path(sys.argv[1])
    (_folder / "index.json").write_text(json.dumps(index(_folder), indent=1) + "\n")
