"""Builds the wheel: the Python code, its Rust module, the program ``chiasm`` and its plugins.

``pip wheel core/python`` and ``pip install core/python`` call :func:`build_wheel`, which runs cargo.
As a program it packs files that were built before:

    python core/python/backend.py --built target/debug -o dist
"""

import argparse
import base64
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

#: The folders of the workspace whose crates are plugins.
PLUGIN_FOLDERS = ("plugins", "adapters")

#: The crate that holds all plugins of the folder ``plugins`` in one library, which share their code.
JOINED = "chiasm-methods"


def get_requires_for_build_wheel(config_settings=None):
    """Returns what has to be installed for a build: nothing but cargo."""
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Compiles the release profile and packs it. Returns the name of the wheel."""
    # Names of functions are a third of the size, and no part of what a user needs.
    environment = dict(os.environ, CARGO_PROFILE_RELEASE_STRIP="symbols")
    adapters = plugins("adapters")
    packages = [flag for name in ("chiasm", "chiasm-python", *adapters) for flag in ("-p", name)]
    for command in (
        ["build", "--features", "chiasm/hub", *packages],
        # No other build makes a library of it, which would stand beside the plugins that it holds.
        ["rustc", "-p", JOINED, "--crate-type", "cdylib"],
    ):
        subprocess.run(["cargo", *command, "--release", "--locked"], cwd=ROOT, env=environment, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return pack(target / "release", [*adapters, JOINED], Path(wheel_directory))


def build_sdist(sdist_directory, config_settings=None):
    """There is no source distribution: the package is built in a clone of the repository."""
    raise NotImplementedError("build a wheel in a clone of the repository: pip wheel core/python")


def plugins(*folders):
    """Returns the names of the crates of folders of the workspace."""
    manifests = [path for folder in folders for path in (ROOT / folder).glob("*/Cargo.toml")]
    return sorted(re.search(r'(?m)^name = "(.+)"', path.read_text()).group(1) for path in manifests)


def library(name):
    """Returns the file name of the library of a crate."""
    return f"lib{name.replace('-', '_')}.so"


def pack(built, plugins, output):
    """Packs the files that cargo wrote to the folder ``built``, of plugins the libraries of these crates.

    Returns the name of the wheel.
    """
    version = re.search(r'(?m)^version = "(.+)"', (ROOT / "Cargo.toml").read_text()).group(1)
    sources = sorted(path for path in (HERE / "chiasm").iterdir() if path.suffix in (".py", ".pyi"))
    sources.append(HERE / "chiasm" / "py.typed")
    files = {f"chiasm/{path.name}": path for path in sources}
    files["chiasm/_core.abi3.so"] = built / library("chiasm-python")
    files["chiasm/bin/chiasm"] = built / "chiasm"
    files.update({f"chiasm/bin/{library(name)}": built / library(name) for name in plugins})
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"not built yet: {', '.join(missing)}")
    binaries = [path for path in files.values() if path not in sources]
    tag = f"cp310-abi3-{platform(binaries)}"
    info = f"chiasm-{version}.dist-info"
    texts = {
        f"{info}/METADATA": metadata(version),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: chiasm\nRoot-Is-Purelib: false\nTag: {tag}\n",
        f"{info}/entry_points.txt": "[console_scripts]\nchiasm = chiasm._cli:main\n",
        f"{info}/licenses/LICENSE": (ROOT / "LICENSE").read_text(),
    }
    name = f"chiasm-{version}-{tag}.whl"
    output.mkdir(parents=True, exist_ok=True)
    record = []
    with zipfile.ZipFile(output / name, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for place, path in files.items():
            add(wheel, record, place, path.read_bytes(), 0o755 if path in binaries else 0o644)
        for place, text in texts.items():
            add(wheel, record, place, text.encode(), 0o644)
        lines = [*record, f"{info}/RECORD,,"]
        wheel.writestr(member(f"{info}/RECORD", 0o644), "\n".join(lines) + "\n")
    return name


def add(wheel, record, place, content, mode):
    """Adds a file, and its line of the record."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record.append(f"{place},sha256={digest},{len(content)}")
    wheel.writestr(member(place, mode), content)


def member(place, mode):
    """Returns a member of the archive without the time of the build."""
    info = zipfile.ZipInfo(place, date_time=(1980, 1, 1, 0, 0, 0))
    info.external_attr = (0o100000 | mode) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def platform(binaries):
    """Returns the platform tag: the machine, and the oldest C library that all binaries run with."""
    machine = sysconfig.get_platform().rsplit("-", 1)[-1].replace(".", "_")
    needed = {int(minor) for path in binaries for minor in re.findall(rb"GLIBC_2\.(\d+)", path.read_bytes())}
    return f"manylinux_2_{max(needed)}_{machine}"


def metadata(version):
    """Returns the metadata of the package, from ``pyproject.toml`` and ``README.md``."""
    import tomllib

    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        "Description-Content-Type: text/markdown",
        *(f"Requires-Dist: {need}" for need in project["dependencies"]),
    ]
    for extra, needs in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {need}; extra == "{extra}"' for need in needs]
    return "\n".join(lines) + "\n\n" + (HERE / "README.md").read_text()


def main():
    parser = argparse.ArgumentParser(description="Packs a wheel from files that cargo built before.")
    parser.add_argument(
        "--built", type=Path, required=True, help="the folder with the program and the libraries"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("dist"), help="the folder of the wheel")
    arguments = parser.parse_args()
    name = pack(arguments.built, plugins(*PLUGIN_FOLDERS), arguments.output)
    print(arguments.output / name, file=sys.stdout)


if __name__ == "__main__":
    main()
