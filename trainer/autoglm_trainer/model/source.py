"""From `model.source` to a folder with config, weights and tokenizer. No model code is loaded here, and none is run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from autoglm_api.study import ModelSource
from autoglm_trainer.contract import Places
from autoglm_trainer.errors import SpecError
from autoglm_trainer.hub import HubWords, explained, token_of
from autoglm_trainer.sources import download_file, list_files

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
WANTED = ("*.safetensors", "*.json", "tokenizer*", "vocab*", "merges.txt", "*.model")
_WANTED_ENDINGS = (".safetensors", ".json", ".txt", ".model")


def find_model(model: ModelSource, places: Places) -> Path:
    """The folder of the base model on this machine; downloaded to scratch at most once.

    Raises:
        SpecError: it cannot be found, had, or used.
        SourceUnreachable: S3 does not answer.
    """
    parts = urlsplit(model.place)
    match parts.scheme:
        case "package":
            folder = _package_folder(model.place, parts.netloc, parts.path.strip("/"))
        case "hf":
            folder = _hub_folder(model, f"{parts.netloc}{unquote(parts.path)}".strip("/"), places)
        case _:
            folder = _plain_folder(model.place, places)
    check_files(model.place, (file.name for file in folder.iterdir()) if folder.is_dir() else ())
    return folder


def check_files(source: str, names: Iterable[str]) -> None:
    """Refuse a folder that is no model, or holds pickled weights only.

    Raises:
        SpecError: saying what is missing.
    """
    found = set(names)
    if "config.json" not in found:
        raise SpecError(f"model.source {source}: no config.json there; name the folder that save_pretrained wrote")
    if any(name.endswith(".safetensors") for name in found):
        return
    pickled = sorted(name for name in found if name.endswith(PICKLED))
    if pickled:
        raise SpecError(
            f"model.source {source}: only pickled weights ({', '.join(pickled[:3])}), which can run code when"
            " loaded and are refused; save the model as safetensors (save_pretrained does)"
        )
    raise SpecError(f"model.source {source}: no weights there; add model.safetensors")


def _plain_folder(source: str, places: Places) -> Path:
    try:
        location = places.model(source)
    except ValueError as error:
        raise SpecError(f"model.source: {error}") from error
    if location.protocol == "file":
        folder = Path(location.path)
        if not folder.is_dir():
            raise SpecError(f"model.source {source}: there is no such folder; check the path or the claim's mount")
        return folder
    files = list_files(source, location, SpecError)
    check_files(source, (name for name in files if "/" not in name))
    folder = places.scratch / "models" / sha256(source.encode()).hexdigest()[:16]
    for name, size in files.items():
        target = folder / name
        known = target.is_file() and target.stat().st_size == size
        if "/" not in name and name.endswith(_WANTED_ENDINGS) and not known:
            download_file(f"{source.rstrip('/')}/{name}", location / name, target, SpecError)
    return folder


def _package_folder(source: str, package: str, below: str) -> Path:
    # find_spec of a top-level name reads no line of the package's code.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise SpecError(
            f"model.source {source}: no Python package {package!r} is installed in the trainer; install it into"
            " the trainer's image, or name a folder, S3 prefix or hub repository"
        )
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    start = (root / below).resolve()
    if not start.is_relative_to(root):
        raise SpecError(f"model.source {source}: leaves the package")
    folders = sorted(
        {config.parent for config in start.rglob("config.json") if any(config.parent.glob("*.safetensors"))}
        or {config.parent for config in start.rglob("config.json")}
    )
    if not folders:
        raise SpecError(f"model.source {source}: the package holds no folder with a config.json")
    if len(folders) > 1:
        listed = ", ".join(f"package://{package}/{PurePosixPath(folder.relative_to(root))}" for folder in folders[:5])
        raise SpecError(f"model.source {source}: the package holds several models; name one of {listed}")
    return folders[0]


def _hub_folder(model: ModelSource, repository: str, places: Places) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    words = HubWords(
        where=f"model.source hf://{repository}" + (f" at {model.revision}" if model.revision else ""),
        what="the model",
        secret="model.secretRef",  # noqa: S106 - a field's name
        form="hf://<owner>/<name>",
        refusal=SpecError,
        unreachable=SpecError,
    )
    token = token_of(places.model_credentials.get("HF_TOKEN"))
    with explained(words):
        return Path(
            snapshot_download(
                repository, revision=model.revision, token=token, allow_patterns=list(WANTED), max_workers=4
            )
        )
