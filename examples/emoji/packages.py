"""npm packages with the emoji's names and drawings: downloaded by npm, verified, and unpacked as far as needed."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package of one version.

    Attributes:
        name: its npm name.
        version: the tested version.
        integrity: the SHA-512 of its tarball, as npm states it.
        inside: the required folder or file in it.
    """

    name: str
    version: str
    integrity: str
    inside: str

    @property
    def tarball(self) -> str:
        """The file name of the tarball made by `npm pack`."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


GOOGLE = Package(
    "emoji-datasource-google",
    "16.0.0",
    "sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
    "img/google/64",
)
MICROSOFT = Package(
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    "assets",
)
TWITTER = Package(
    "emoji-datasource-twitter",
    "16.0.0",
    "sha512-7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
    "img/twitter/64",
)
NAMES = Package(
    "emojibase-data",
    "17.0.0",
    "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    "en/data.json",
)


def find(package: Package, folder: Path) -> Path:
    """Return the path to a package's required part, from the folder, a tarball in it, or npm.

    Args:
        package: the package.
        folder: the folder that holds, or will hold, packages by name, as in `node_modules`, or their tarballs.

    Raises:
        ValueError: if the package there has another version, is damaged or incomplete; or npm fails.
        FileNotFoundError: if neither the package nor npm is there.
    """
    installed = folder / package.name
    if not installed.is_dir():
        tarball = folder / package.tarball
        if not tarball.is_file():
            _fetch(package, folder)
        _check(package, tarball)
        _unpack(package, tarball, installed)
    version = json.loads((installed / "package.json").read_text(encoding="utf-8"))["version"]
    if version != package.version:
        raise ValueError(f"{installed}: version {version}; expected {package.version}. Move it away to download that")
    wanted = installed / package.inside
    if not wanted.exists():
        raise ValueError(f"{installed}: contains no {package.inside}; remove the folder to unpack it again")
    return wanted


def _fetch(package: Package, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"{folder} contains no {package.name}, and npm is missing to download it; install npm (it comes with "
            f"Node.js), or put {package.tarball} there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    print(f"downloading {package.name} {package.version}")
    result = subprocess.run(  # noqa: S603  name and version are constants above
        [npm, "pack", "--silent", f"{package.name}@{package.version}"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise ValueError(f"npm pack {package.name}@{package.version} failed: {result.stderr.strip()}")


def _check(package: Package, tarball: Path) -> None:
    with tarball.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != package.integrity:
        raise ValueError(f"{tarball}: damaged, or not version {package.version}; remove it to download it again")


def _unpack(package: Package, tarball: Path, target: Path) -> None:
    """Unpack the required part, package.json and the licence, atomically."""
    unfinished = target.with_name(f"{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with tarfile.open(tarball) as tar:
        for member in tar:
            inside = member.name.partition("/")[2]  # relative to the tarball's single top-level folder
            wanted = inside in {"package.json", "README.md", "LICENSE"} or f"{inside}/".startswith(f"{package.inside}/")
            # Written here, because Python before 3.11.4 has no filter for `tar.extract`; links are left out.
            if wanted and member.isfile() and ".." not in Path(inside).parts and (file := tar.extractfile(member)):
                written = unfinished / inside
                written.parent.mkdir(parents=True, exist_ok=True)
                written.write_bytes(file.read())
    unfinished.rename(target)
