"""The images of docker/, built and run: the viewer's and command line's as it is, BOINC's layers on stand-in bases.

`make test-containers` runs this with the Docker engine that answers, or as root with one of its own, which it starts and
ends. Every base is a Debian 12 by debootstrap. BOINC's published images are played by three more, which have their ONBUILD
instructions and the steps' file operations, but no BOINC; what BOINC itself does is not tested here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import missing
from tests.server.conftest import rigaku_name
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web.report.text import FONTS
from xtalgrid_synth import render_well

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

# BOINC's tools, by openssl: `crypt_prog -genkey 1024 PRIVATE PUBLIC` and `sign_executable FILE PRIVATE`.
TOOL = r"""#!/bin/bash
set -eu -o pipefail
case $(basename "$0") in
crypt_prog)
    openssl genrsa -traditional 1024 >"$3" 2>/dev/null
    {
        echo 1024
        openssl rsa -in "$3" -noout -modulus | cut -d= -f2 | tr A-F a-f | fold -w64
        printf '%0256x' 65537 | fold -w64
        printf '\n.\n'
    } >"$4"
    ;;
sign_executable)
    printf %s "$(md5sum <"$1" | cut -d' ' -f1)" | openssl pkeyutl -sign -inkey "$2" -pkeyopt rsa_padding_mode:pkcs1 |
        od -An -tx1 -v | tr -d ' \n' | fold -w64
    printf '\n.\n'
    ;;
esac
"""
STEP_1 = r"""#!/bin/bash
set -e
mkdir -p "$PROJECT_ROOT"/{bin,html/ops,html/user,apps,templates,keys}
cd "$PROJECT_ROOT"
cp /usr/local/bin/tool bin/crypt_prog
cp /usr/local/bin/tool bin/sign_executable
echo '<boinc><config><db_passwd>${DB_PASSWD}</db_passwd></config><tasks/><daemons/></boinc>' >config.xml
echo '<boinc></boinc>' >project.xml
echo 'the page' >html/user/index.php
touch '${project}.httpd.conf' '${project}.readme'
for name in code_sign upload; do bin/crypt_prog -genkey 1024 keys/${name}_private keys/${name}_public; done
mv keys /run/secrets
ln -s /run/secrets/keys .
mkdir -p /run/secrets/html/ops
echo 'admin:zJiQQ3OoIfehM' >/run/secrets/html/ops/.htpasswd
"""
STEP_2 = r"""#!/bin/bash
set -e
source /run/secrets/secrets.env
cd "$PROJECT_ROOT"
sed -i -e "s|\${DB_PASSWD}|$DB_PASSWD|gI" config.xml
for file in \$\{project\}*; do
    mv -n $file ${file/\$\{project\}/$PROJECT}
done
cp -rfT --preserve=mode,ownership "$PROJECT_ROOT" "$PROJECT_ROOT.dst"
mv "$PROJECT_ROOT" "$PROJECT_ROOT.orig"
ln -s "$PROJECT_ROOT.dst" "$PROJECT_ROOT"
touch "$PROJECT_ROOT/.built_$PROJECT"
"""
ONBUILD = """
ONBUILD ARG BOINC_USER
ONBUILD ARG PROJECT_ROOT
ONBUILD ENV BOINC_USER=$BOINC_USER PROJECT_ROOT=$PROJECT_ROOT USER=$BOINC_USER HOME=/home/$BOINC_USER MYSQL_HOST=mysql
ONBUILD RUN adduser $BOINC_USER --disabled-password --gecos ""
"""
MAKEPROJECT = f"""
COPY tool makeproject-step1.sh makeproject-step2.sh /usr/local/bin/
RUN install -d -o 1000 /run/secrets && echo DB_PASSWD=password >/run/secrets/secrets.env
{ONBUILD}
ONBUILD RUN mkdir $PROJECT_ROOT.dst && chown $BOINC_USER:$BOINC_USER $PROJECT_ROOT.dst
ONBUILD USER $BOINC_USER
ONBUILD RUN makeproject-step1.sh
ONBUILD CMD makeproject-step2.sh
ONBUILD WORKDIR $PROJECT_ROOT
"""
APACHE = f"""
RUN touch /usr/bin/makeproject-step3.sh
{ONBUILD}
ONBUILD RUN adduser www-data $BOINC_USER
ONBUILD RUN mkdir $PROJECT_ROOT && chown -R $BOINC_USER:$BOINC_USER $PROJECT_ROOT && chown $BOINC_USER:$BOINC_USER $HOME
ONBUILD WORKDIR $PROJECT_ROOT
"""
PACKAGES = ",".join(["adduser", "ca-certificates", "openssl", "python3", "python3-venv", *FONTS])
WORKER = b"a frozen worker\0pyi-runtime-tmpdir .\0"
VERSION = "xtalgrid/1.0/x86_64-pc-linux-gnu"


class Engine:
    """A Docker engine, and the names of what this run makes in it."""

    def __init__(self, host: str | None) -> None:
        self.environment = {**os.environ, "DOCKER_BUILDKIT": "0", **({"DOCKER_HOST": host} if host else {})}
        self.name = f"xtalgrid-test-{uuid.uuid4().hex[:8]}"
        self.images: list[str] = []
        self.volumes: list[str] = []

    def __call__(self, *words: object, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a `docker` command."""
        command = ["docker", *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, **options)  # type: ignore[call-overload]
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def build(self, tag: str, context: Path, *words: str) -> str:
        self.images.append(image := f"{self.name}/{tag}")
        self("build", "--quiet", "--tag", image, *words, context)
        return image

    def volume(self) -> str:
        self.volumes.append(name := f"{self.name}-{len(self.volumes)}")
        self("volume", "create", name)
        return name

    def layers(self, *images: str) -> Iterator[tarfile.TarInfo]:
        """All files of all layers of images, also of those that later layers hide; read once where images share them."""
        command = ["docker", "save", *images]
        with (
            subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE) as saved,
            tarfile.open(fileobj=saved.stdout, mode="r|") as archive,
        ):
            for member in archive:
                if member.isfile():
                    with (
                        contextlib.suppress(tarfile.ReadError),  # a description, not a layer
                        tarfile.open(fileobj=archive.extractfile(member), mode="r|*") as files,
                    ):
                        yield from files


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if shutil.which("docker") is None or shutil.which("debootstrap") is None:
        missing("docker or debootstrap is not installed (Debian's packages docker.io and debootstrap)")
    if os.geteuid() != 0:
        missing("debootstrap needs root")
    daemon = None
    engine = Engine(None)
    if engine("info", check=False).returncode:
        if shutil.which("dockerd") is None:
            missing("no Docker engine answers, and there is no dockerd to start one")
        folder = tmp_path_factory.mktemp("docker")
        engine = Engine(f"unix://{folder}/socket")
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(
                ["dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid",
                 f"--host=unix://{folder}/socket"],
                stdout=log, stderr=log,
            )  # fmt: skip
        until = time.monotonic() + 30
        while engine("info", check=False).returncode:
            if daemon.poll() is not None or time.monotonic() > until:
                daemon.kill()
                last = (folder / "log").read_text(errors="replace").splitlines()[-1:]
                missing(f"no Docker engine can be started here: {last}")
            time.sleep(0.5)
    try:
        yield engine
    finally:
        for volume in engine.volumes:
            engine("volume", "rm", "--force", volume, check=False)
        for image in reversed(engine.images):
            engine("rmi", "--force", image, check=False)
        if daemon is not None:
            daemon.terminate()
            daemon.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def debian(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Debian 12 with all packages that the stages install; it trusts the certificates that this machine trusts."""
    folder = tmp_path_factory.mktemp("debian")
    root = folder / "root"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        missing(f"debootstrap: {(made.stdout + made.stderr).strip().splitlines()[-1]}")
    (root / "etc/apt/sources.list").write_text("")  # nothing more is fetched: each stage would fetch the lists again
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.is_file():
        shutil.copyfile(bundle, root / "usr/local/share/ca-certificates/host.crt")
        subprocess.run(["chroot", root, "update-ca-certificates"], capture_output=True, check=True)
    engine.images.append(image := f"{engine.name}/debian")
    setting = "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
    with subprocess.Popen(["tar", "-C", root, "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
        engine("import", "--change", setting, "-", image, stdin=tar.stdout)
    shutil.rmtree(folder)
    return image


@pytest.fixture(scope="module")
def built(engine: Engine, debian: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """``built(target)``: the image of a target of docker/Dockerfile."""
    context = tmp_path_factory.mktemp("bases")
    for name, text in (("tool", TOOL), ("makeproject-step1.sh", STEP_1), ("makeproject-step2.sh", STEP_2)):
        (context / name).write_text(text)
        (context / name).chmod(0o755)
    images: dict[str, str] = {}

    def build(target: str) -> str:
        if not images:
            for name, text in (("mysql", ""), ("makeproject", MAKEPROJECT), ("apache", APACHE)):
                (context / "Dockerfile").write_text(f"FROM {debian}\n{text}")
                engine.build(f"server_{name}", context)
        if target not in images:
            arguments = {
                "DEBIAN": debian, "BOINC_IMAGES": engine.name, "BOINC_USER": "boincadm",
                "PROJECT_ROOT": "/home/boincadm/project",
            }  # fmt: skip
            words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
            dockerfile = ("--file", str(ROOT / "docker" / "Dockerfile"))
            images[target] = engine.build(target, ROOT, *dockerfile, "--target", target, *words)
        return images[target]

    return build


CONFINED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")


def test_the_server_scores_a_plate_and_shows_it(engine, built, tmp_path):
    """As the user of the image, on a read-only root; every answer is the one that this checkout gives."""
    image = built("server")
    images, config = tmp_path / "images", tmp_path / "config"
    images.mkdir()
    config.mkdir()
    (config / "xtalgrid.toml").write_text(
        'home = "/var/lib/xtalgrid"\n[imager]\nfolder = "/images"\n[import]\nsettle_s = 0\n'
    )
    for column, outcome in enumerate((Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.NULL_EXPERIMENT), 1):
        well = render_well(outcome, seed=column, width=900, height=700).image
        Image.fromarray(well).save(images / rigaku_name(column))
    for folder in (tmp_path, images, config):
        folder.chmod(0o755)
    home = engine.volume()
    mounted = (
        f"--volume={home}:/var/lib/xtalgrid",
        f"--volume={images}:/images:ro",
        f"--volume={config}:/etc/xtalgrid:ro",
    )

    def inside(*words: str) -> str:
        return engine("run", "--rm", *CONFINED, *mounted, image, *words).stdout

    assert inside("id", "-u") == "1000\n"
    for step in ("create_work", "grid", "assimilate"):
        inside("xtalgrid", step)
    scored = inside("sh", "-c", "xtalgrid export jsonl /tmp/scores >/dev/null && cat /tmp/scores")
    (tmp_path / "none.toml").write_text("")
    here = [sys.executable, "-m", "xtalgrid_server", "--home", tmp_path / "home", "--config", tmp_path / "none.toml"]
    for words in (["run", images], ["export", "jsonl", tmp_path / "scores"]):
        subprocess.run([*here, *words], check=True, capture_output=True)

    def answers(lines: str) -> list[tuple]:
        rows = [json.loads(line) for line in lines.splitlines()]
        return sorted((row["well"], row["outcome"], row["p_crystal"]) for row in rows)

    assert len(answers(scored)) == 3
    assert answers(scored) == answers((tmp_path / "scores").read_text())
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    shutil.copyfile(images / rigaku_name(1), other / rigaku_name(1, inspection=4))
    told = engine("run", "--rm", *CONFINED, *mounted, f"--volume={other}:/import:ro", image, "xtalgrid", "import-folder",
                  "--copy", "/import").stdout  # fmt: skip
    assert "1 images of 1 plates imported" in told
    viewer = engine("run", "--detach", *CONFINED, *mounted, image).stdout.strip()
    try:
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8765/', timeout=8).read().decode())"
        until = time.monotonic() + 60
        while (
            page := engine("exec", viewer, "python3", "-c", ask, check=False)
        ).returncode and time.monotonic() < until:
            time.sleep(0.5)
        assert "CI022987" in page.stdout, page.stderr
    finally:
        engine("rm", "--force", viewer)


@pytest.mark.parametrize("target", ["server", "apache"])
def test_an_image_has_the_fonts_of_reports(engine, built, target):
    ask = (
        "from xtalgrid_server.web.report.text import Text; text = Text(); text.runs('µ μ é Ł Ж 結晶 リゾチーム 한글'); "
        "print(text.faults)"
    )
    assert engine("run", "--rm", built(target), "/opt/xtalgrid/.venv/bin/python", "-c", ask).stdout == "[]\n"


def test_no_layer_of_an_image_has_a_private_key_or_a_known_password(engine, built):
    files = engine.layers(*(built(target) for target in ("server", "makeproject", "apache")))
    names = {member.name for member in files if member.isfile()}
    assert {"usr/local/bin/backup.sh", "usr/local/bin/sign.sh", "usr/local/bin/volunteers.php"} <= names, (
        "all were read"
    )
    assert not [n for n in names if n.endswith(("_private", "secrets.env", ".htpasswd")) and "/.venv/" not in n]


@pytest.fixture(scope="module")
def volumes(engine: Engine) -> dict[str, str]:
    return {name: engine.volume() for name in ("signing", "release", "project", "secrets")}


@pytest.fixture
def sign(engine, built, volumes, tmp_path):
    """``sign(files)``: the service `sign` with these files in its folder of workers."""

    def run(files: dict[str, bytes], *words: str) -> subprocess.CompletedProcess[str]:
        tmp_path.chmod(0o755)
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        mounted = (f"--volume={volumes['signing']}:/signing", f"--volume={volumes['release']}:/release")
        return engine(
            "run", "--rm", "--network=none", *CONFINED, *mounted, f"--volume={tmp_path}:/workers:ro", built("makeproject"),
            "sign.sh", *words,
        )  # fmt: skip

    return run


def test_the_key_is_made_once_and_app_versions_are_signed_with_it(engine, built, volumes, sign):
    name = "xtalgrid-worker-0.1.0-linux-x86_64"
    worker = {name: WORKER, f"{name}.tar.gz": b"", "SHA256SUMS-linux.txt": b""}  # a release's folder
    done = sign(worker)
    assert f"signed {VERSION}" in done.stdout
    assert "made a key" in done.stdout
    key = sign({}, "export").stdout
    assert "made a key" not in sign(worker).stdout
    assert sign({}, "export").stdout == key
    look = ("run", "--rm", f"--volume={volumes['signing']}:/signing", f"--volume={volumes['release']}:/release")
    listed = engine(*look, built("makeproject"), "stat", "--format=%a %U %n", "/signing/code_sign_private").stdout
    assert listed == "600 boincadm /signing/code_sign_private\n"
    everything = engine(*look, built("makeproject"), "find", "/release", "-name", "*private*").stdout
    assert everything == ""


def test_makeproject_ends_well_twice_and_leaves_out_what_is_unsigned(engine, built, volumes, sign):
    sign({"xtalgrid-worker-0.1.0-linux-x86_64": WORKER})
    key = sign({}, "export").stdout
    sign({}, "remove")
    done = sign({"xtalgrid-worker-0.2.0-linux-x86_64": WORKER + b"2"})
    assert "refused xtalgrid/2.0/x86_64-pc-linux-gnu" in done.stdout
    assert "made a key" not in done.stdout, "another key would make every client refuse the project"
    mounted = (
        f"--volume={volumes['project']}:/home/boincadm/project.dst", f"--volume={volumes['secrets']}:/run/secrets",
        f"--volume={volumes['release']}:/release:ro",
    )  # fmt: skip
    container = engine("create", "--env=PROJECT=xtalgrid", *mounted, built("makeproject")).stdout.strip()
    try:
        for _ in range(2):
            done = engine("start", "--attach", container)
            assert "not registered: app version xtalgrid/2.0/x86_64-pc-linux-gnu" in done.stdout
    finally:
        engine("rm", container)
    served = (
        "run", "--rm", f"--volume={volumes['project']}:/home/boincadm/project",
        f"--volume={volumes['secrets']}:/run/secrets:ro", built("apache"),
    )  # fmt: skip

    def ask(script: str, user: str = "boincadm") -> str:
        return engine(*served[:2], f"--user={user}", *served[2:], "sh", "-c", script).stdout

    assert ask("ls apps/xtalgrid") == "1.0\n"
    assert f"{next(iter(ask('cat apps/xtalgrid/1.0/*/*.sig').split()))}"
    assert ask("find / -xdev -name 'code_sign_private*' 2>/dev/null || true", "root") == ""
    assert ask("cat /run/secrets/keys/code_sign_public").startswith("1024\n")
    password = ask("cat config.xml").split("db_passwd>")[1].partition("<")[0]
    assert len(password) == 48, "not the published one"
    assert "zJiQQ3OoIfehM" not in ask("cat /run/secrets/html/ops/.htpasswd")
    assert ask("stat --format=%a /run/secrets/secrets.env") == "600\n"
    # Apache's own user enters the home folder, and reads what it needs of the secrets.
    assert ask("su -s /bin/sh www-data -c 'cat html/user/index.php'", "root") == "the page\n"
    assert ask("su -s /bin/sh www-data -c 'head -c6 /run/secrets/html/ops/.htpasswd'", "root") == "admin:"
    sign_again = engine(
        "run", "--rm", "--interactive", "--network=none", f"--volume={volumes['signing']}:/signing",
        f"--volume={volumes['release']}:/release", built("makeproject"), "sign.sh", "import", input=key,
    )  # fmt: skip
    assert sign_again.returncode == 0
    assert "signed xtalgrid/2.0" in sign({"xtalgrid-worker-0.2.0-linux-x86_64": WORKER + b"2"}).stdout


def test_a_backup_comes_back_with_its_owners(engine, built, tmp_path):
    image = built("server")
    first, second = engine.volume(), engine.volume()

    def backup(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return engine(
            "run", "--rm", "--user=root", f"--volume={first}:/volumes/project", f"--volume={second}:/volumes/xtalgrid",
            f"--volume={tmp_path}:/backup", image, *words, check=check,
        )  # fmt: skip

    backup(
        "sh",
        "-c",
        "cd /volumes; echo ledger >xtalgrid/ledger; chown -R 1000:33 xtalgrid; chmod 2770 xtalgrid; touch project/.x",
    )
    file = Path(backup("backup.sh").stdout.strip())
    assert (tmp_path / file.name).stat().st_mode & 0o777 == 0o600
    backup(
        "sh", "-c", "cd /volumes; echo changed >xtalgrid/ledger; touch xtalgrid/new; chown 0 xtalgrid; rm project/.x"
    )
    backup("backup.sh", "restore", f"backup/{file.name}")
    told = backup(
        "sh", "-c", "cd /volumes; cat xtalgrid/ledger; ls -A xtalgrid project; stat -c '%u:%g %a' xtalgrid"
    ).stdout
    assert told.split() == ["ledger", "project:", ".x", "xtalgrid:", "ledger", "1000:33", "2770"]
    (tmp_path / "broken.tar.gz").write_bytes((tmp_path / file.name).read_bytes()[:-20])
    assert backup("backup.sh", "restore", "broken.tar.gz", check=False).returncode != 0
    assert backup("cat", "/volumes/xtalgrid/ledger").stdout == "ledger\n"
