"""docs/reference/licences.md: the licence of all that ships, from scripts/locks/ and the metadata of what is installed."""

from __future__ import annotations

import re
from importlib import metadata

from .text import ROOT, table

HEAD = """# Licences

xtalgrid itself is under the [MIT licence](https://opensource.org/license/mit). The **wheel** holds nothing else but the
networks' weights, whose origin and terms are in [models.md](../models.md). An **installed server**, and `/opt/xtalgrid`
in the [images](../../docker/README.md), also has the packages of `scripts/locks/server.lock`; the **frozen worker** has
those marked so. Each package brings its licence's text in its `dist-info` folder."""

WEAK = """## Not only permissive

Nothing ships that is under GPL without an exception for it. These need a word:"""

REASONS = {
    "psycopg": "LGPL. A package of its own, unchanged and replaceable; only where PostgreSQL is used (`postgres`).",
    "psycopg-binary": "As psycopg, in one file with the libraries below; likewise unchanged and replaceable.",
    "pyinstaller": "GPL with an exception for the programs that it makes: what it adds to the frozen worker may be "
    "distributed under any licence.",
    "tqdm": "MPL for some of its files, MIT for the rest; unchanged.",
}
"""Why a package that is not under a permissive licence may ship."""

FROZEN = {"click", "colorama", "msgspec", "numpy", "onnxruntime", "pillow", "pyinstaller"}
"""What worker/xtalgrid-worker.spec leaves in, besides xtalgrid and Python."""

_ELSEWHERE = {"colorama": "BSD-3-Clause", "pyinstaller": "GPL-2.0-or-later WITH Bootloader-exception"}
"""Packages that a developer on Linux need not have, or whose metadata don't say it in a word."""

_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}
"""What metadata say in other words."""

LIBRARIES = {
    "numpy": {
        "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
        "libquadmath": "LGPL-2.1-or-later",
        "libscipy_openblas": "BSD-3-Clause",
    },
    "onnxruntime": {"libonnxruntime": "MIT"},
    "pillow": {
        "libXau": "MIT", "libavif": "BSD-2-Clause", "libbrotli": "MIT", "libfreetype": "FTL", "libharfbuzz": "MIT",
        "libjpeg": "IJG AND BSD-3-Clause AND Zlib", "liblcms2": "MIT", "liblzma": "0BSD", "libopenjp2": "BSD-2-Clause",
        "libpng16": "libpng-2.0", "libsharpyuv": "BSD-3-Clause", "libtiff": "libtiff", "libwebp": "BSD-3-Clause",
        "libxcb": "MIT", "libzstd": "BSD-3-Clause",
    },
    "psycopg-binary": {
        "libcom_err": "MIT", "libcrypt-": "LGPL-2.1-or-later", "libcrypto": "Apache-2.0", "libgssapi_krb5": "MIT",
        "libk5crypto": "MIT", "libkeyutils": "LGPL-2.1-or-later", "libkrb5": "MIT", "liblber": "OLDAP-2.8",
        "libldap": "OLDAP-2.8", "libpq": "PostgreSQL", "libsasl2": "BSD-Attribution-HPND-disclaimer",
        "libssl": "Apache-2.0",
    },
}  # fmt: skip
"""Libraries that come inside packages' wheels for Linux, by the beginnings of their files' names."""

SYSTEM_LIBRARIES = {
    "libffi": "MIT", "libgcc_s": "GPL-3.0-or-later WITH GCC-exception-3.1", "libpython": "PSF-2.0",
    "libstdc++": "GPL-3.0-or-later WITH GCC-exception-3.1", "libuuid": "BSD-3-Clause", "libz": "Zlib",
}  # fmt: skip
"""Those of the system it is frozen on, which the frozen worker for Linux brings."""

OTHERS = f"""## Not from PyPI

| what | licence | in |
|---|---|---|
| CPython 3.11, its standard library | PSF-2.0 | frozen worker |
{chr(10).join(f"| {name} | {terms} | frozen worker for Linux |" for name, terms in SYSTEM_LIBRARIES.items())}
| Debian 12's packages `python3`, `ca-certificates` and what they need | each in `/usr/share/doc/*/copyright` | images |
| BOINC's server, from its published images | LGPL-3.0-or-later | images of the BOINC project, which add our files to it |"""


def page() -> str:
    """Write the page."""
    shipped = locked("server") | {name: version for name, version in locked("freeze").items() if name in FROZEN}
    found = {name: licence(name) for name in shipped}
    rows = [(name, version, found[name], "yes" if name in FROZEN else "") for name, version in sorted(shipped.items())]
    weak = [(name, found[name], why) for name, why in REASONS.items()]
    libraries = [
        (library.rstrip("-"), terms, name) for name, known in LIBRARIES.items() for library, terms in known.items()
    ]
    parts = [
        HEAD,
        WEAK,
        table(("package", "licence", "why it may ship"), weak),
        "## Packages",
        table(("package", "version", "licence", "frozen worker"), rows),
        "## Libraries inside them",
        "In the wheels for Linux. GCC's runtime library, which numpy brings, may be used by programs of any licence.",
        table(("library", "licence", "in the wheel of"), libraries),
        OTHERS,
    ]
    return "\n\n".join(parts) + "\n"


def locked(name: str) -> dict[str, str]:
    """Return a lock's packages and their versions."""
    text = (ROOT / "scripts" / "locks" / f"{name}.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", text, re.MULTILINE))


def licence(name: str) -> str:
    """Return a package's licence as it says itself, by its SPDX name where there is one.

    Raises
    ------
    LookupError
        If it does not say, or is not installed and not in the table; look it up and add it.
    """
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    about = metadata.metadata(name)
    classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    for said in (about["License-Expression"], about["License"], *classifiers):
        if said and "\n" not in said:
            return _SPDX.get(said, str(said))
    raise LookupError(f"{name} does not say its licence; add it to {__name__}")


def is_permissive(terms: str) -> bool:
    """Return whether a licence asks for no more than its notice; GPL, LGPL and MPL do."""
    return re.search(r"GPL|MPL|SSPL|EUPL|CDDL|EPL|Affero|Proprietary", terms) is None
