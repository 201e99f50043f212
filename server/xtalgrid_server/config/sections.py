"""What can be configured, section by section: each key with its default, and what it means."""

from __future__ import annotations

import os
import zoneinfo
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from xtalgrid_core.options import DEFAULTS, Boxes, Cutoff, Mode, Probability, Rule, Step
from xtalgrid_core.outcomes import CLASSES, Outcome

FILE_NAME = "xtalgrid.toml"

Policy = Literal["behind", "drop", "inspection", "shadow"]
Positive = Annotated[int, Meta(ge=1)]
Part = Annotated[float, Meta(ge=0, le=1)]
Code = Annotated[str, Meta(pattern="^[0-9A-Za-z]{2}$")]
Name = Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_$#]{0,127}$")]
"""Of a table, column or sequence. Case does not matter."""
NameOrNone = Annotated[str, Meta(pattern="^([A-Za-z][A-Za-z0-9_$#]{0,127})?$")]


class Imager(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The imager database and its images (docs/configuration.md, section imager)."""

    url: str = ""
    """SQLAlchemy URL of an account that may read; empty: an embedded SQLite database under home."""
    write_url: str = ""
    """Of an account that may write scores too; empty: the same account."""
    password_file: str = ""
    """File that holds the password of url; or the environment variable XTALGRID_IMAGER_PASSWORD does."""
    write_password_file: str = ""
    """The same for write_url; XTALGRID_IMAGER_WRITE_PASSWORD."""
    oracle_client: str = ""
    """Folder of Oracle's client libraries, for oracle+oracledb in thick mode; empty: thin mode, which needs none."""
    pool_size: Annotated[int, Meta(ge=1, le=50)] = 2
    """Connections kept open by a process, for each account."""
    connect_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """A connection that is not there after so long has failed."""
    statement_timeout_s: Annotated[float, Meta(gt=0, le=86400)] = 300.0
    """A statement that takes longer is given up (Oracle, PostgreSQL)."""
    retry_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """For so long a database that went away is asked again."""
    folder: str = ""
    """A folder that an imager puts its images into: create_work takes in what is new and complete. Empty: none."""
    image_root: str = ""
    """Folder that holds ``<barcode>/<inspection>/<image name>``; empty: ``home/images``."""
    source: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")] = "crystaltrak"
    """Name of this imager in the ledger."""
    owner: NameOrNone = ""
    """Schema owner of the vendor's tables, CRYSTAL at many labs; empty: none."""
    sequence: Name = "SEQ_JTNG_SCORE_ID"
    """Sequence that new score ids come from, on databases that have sequences."""
    time_zone: str = "UTC"
    """Zone of the imager database's naive local dates."""
    patterns: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    """Which image types are scored: names with * and ? as wildcards, such as ``*_HF_99_*``."""
    exclude: tuple[str, ...] = ("*_ART.*",)
    """Image names never scored: our own framed images would match the patterns."""
    pixel_size_um: Annotated[float, Meta(ge=0.05, le=50)] | None = None
    """Micrometres a pixel; not set: known imagers by image size, else a guess."""
    scored_by: Annotated[str, Meta(min_length=1, max_length=30)] = "ARTscore"
    """SCOREDBY of our rows."""
    automatic: tuple[str, ...] = ()
    """Further SCOREDBY names that are programs, not people."""
    not_scored: tuple[str, ...] = ("20",)
    """Score codes that mean "not scored"."""
    look_back_days: Annotated[float, Meta(ge=0)] = 14.0
    """How old a row of the score table may be, by its date, for `sync` to see that it was changed or deleted."""
    tables: dict[str, Name] = field(default_factory=dict)
    """The lab's names of tables where they differ from the vendor's (docs/imager-databases.md)."""
    columns: dict[str, dict[str, Name]] = field(default_factory=dict)
    """The lab's names of columns, by table."""
    codes: dict[str, Code] = field(default_factory=dict)
    """Score code of an outcome where the lab's differs from the published ones, such as ``"crystals harvestable" = "45"``."""

    def is_persons(self, by: str, code: str) -> bool:
        """Whether a row of the score table is a person's: not ours, no other program's, and not "not scored"."""
        return by not in self.programs and code not in self.not_scored

    @property
    def programs(self) -> tuple[str, ...]:
        """SCOREDBY names that are no people's, ours first."""
        return self.scored_by, *self.automatic

    def utc(self, local: datetime) -> datetime:
        """A naive local date of the imager database in UTC, naive too."""
        return local.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone)).astimezone(UTC).replace(tzinfo=None)

    def local(self, seconds: float) -> datetime:
        """A time in seconds since 1970 as the imager database would have it: local, naive, of whole seconds."""
        zone = zoneinfo.ZoneInfo(self.time_zone)
        return datetime.fromtimestamp(seconds, zone).replace(tzinfo=None, microsecond=0)


class Ledger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our own database."""

    url: str = ""
    """SQLAlchemy URL; empty: SQLite under home."""


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images are packed and scored."""

    wells_per_unit: Annotated[int, Meta(ge=1, le=5000)] = 100
    """Of inspections within `look_back_days` of the newest one: somebody waits for them."""
    wells_per_backfill_unit: Annotated[int, Meta(ge=1, le=5000)] = 1000
    """Of older inspections."""
    max_unit_mb: Positive = 400
    """Most megabytes of images in a unit."""
    limit: Positive = 10_000
    """Most images one run of create_work plans."""
    look_back_days: Annotated[float, Meta(ge=0)] = 3.0
    """How far behind the newest inspection rows and files may still turn up; what is older at the first run is the archive."""
    backfill_per_hour: Positive = 5000
    """Most images of the archive that ``create_work --backfill`` plans in an hour."""
    rule: Rule = DEFAULTS.rule
    """What decides: all chops together (pooled), or the best of them (group, and published, which is the paper's)."""
    threshold: Cutoff = DEFAULTS.threshold
    """Rules published and group: probability from which a chop counts."""
    mode: Mode = DEFAULTS.mode
    """dense: all chops from one class map of the drop; exact: one by one as published, many times slower."""
    step: Step = DEFAULTS.step
    """Pixels at the reference scale from chop to chop; dense: a multiple of 16. The paper's is 50."""
    n_boxes: Boxes = DEFAULTS.n_boxes
    """How many of the best chops a score names and a frame shows."""
    support: Probability = DEFAULTS.support
    """Rule group: part of the chops seeing a point that must agree on a crystal; 0: one is enough."""
    crystal_from: Cutoff = DEFAULTS.crystal_from
    """Rule pooled: p_crystal from which a well is called a crystal. Lower: fewer crystals are missed, more wells opened."""
    segmenter: str = ""
    """SHA-256 of the weights; empty: those promoted last, else the package's default."""
    classifier: str = ""
    """The same for the classifier."""


class Grid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where workers run."""

    kind: Literal["local", "boinc"] = "local"
    """local: as processes of this machine, for which the keys below are; boinc: see section boinc."""
    workers: Annotated[int, Meta(ge=1, le=512)] = max(1, min(os.cpu_count() or 1, 8))
    """Processes, each on one core. Default: one for each core, at most 8."""
    attempts: Positive = 3
    """How often a unit that makes no progress is tried before it is given up."""
    patience_minutes: Annotated[float, Meta(gt=0)] = 10.0
    """A worker that answers for no image so long is killed, and its unit tried again."""


class Boinc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The BOINC project that work goes to, and the limits of its work units (docs/boinc.md)."""

    project: str = ""
    """Folder of the BOINC project, which has config.xml and bin/ in it."""
    app: Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,40}$")] = "xtalgrid"
    """Name of the BOINC application."""
    database: str = ""
    """SQLAlchemy URL of the project's database; empty: as the project's config.xml has it."""
    quorum: Annotated[int, Meta(ge=1, le=5)] = 1
    """How many hosts score each unit."""
    spot_checks: Part = 0.05
    """Part of the units that two hosts score although the quorum is 1, chosen by chance."""
    max_errors: Annotated[int, Meta(ge=1, le=50)] = 3
    """A unit is given up when more than so many hosts failed at it."""
    max_results: Annotated[int, Meta(ge=1, le=100)] = 8
    """A unit is given up rather than sent out more often than this."""
    deadline_days: Annotated[float, Meta(gt=0, le=365)] = 1.0
    """How long a host has for a fresh unit before it is sent to another one."""
    backfill_deadline_days: Annotated[float, Meta(gt=0, le=365)] = 7.0
    """The same for a unit of the archive."""
    gflop_per_well: Annotated[float, Meta(gt=0)] = 2.0
    """Estimate: core seconds for a well times the 4 or so GFLOPS that BOINC's benchmark gives a core. BOINC corrects it by itself."""
    memory_mb: Positive = 600
    """Most memory a unit may take of a host."""
    disk_mb: Positive = 1500
    """Of a host's slot folder and the result: the unpacked program most of all."""
    batch: Annotated[int, Meta(ge=1, le=500)] = 20
    """Units for one call of BOINC's tools."""


class HoldRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores a lab wants to see before users do: of this outcome or group, below this probability."""

    outcome: str
    """An outcome, or a group of outcomes such as `crystal`."""
    below: Part = 1.0
    """Probability below which it is held; 1.0 holds all of it."""
    on: Literal["probability", "p_crystal"] = "probability"
    """Which probability: that of the outcome, or the calibrated one of a crystal."""


class Publish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of scores."""

    policy: Policy = "behind"
    """Where ARTscores are written beside people's scores; shadow: nowhere."""
    hold: tuple[HoldRule, ...] = ()
    """Scores that wait for `approve` or `reject`."""
    frames: Literal["none", "crystals", "all"] = "crystals"
    """Which framed images are drawn when scores are finalized: crystals includes the undecided."""
    frames_dir: str = ""
    """Empty: ``home/frames``. CrystalTrak finds images under its image root, as ``<barcode>/<inspection>/<name>``."""
    frames_days: Annotated[float, Meta(ge=0)] = 0.0
    """How long framed images are kept; 0: for ever. The viewer draws them again on demand."""
    image_rows: bool = False
    """Enter framed images that were drawn into the imager's table of images."""
    autoscores: bool = False
    """Write into the lab's own table of machine scores too (``imager.tables.autoscores``)."""


class Import(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How ``import-folder`` reads file names."""

    names: str = "rigaku"
    """``rigaku``, ``rockimager``, ``marco``, ``any``, or a regular expression with named groups (docs/configuration.md, section import)."""
    plate_columns: Annotated[int, Meta(ge=1, le=99)] = 12
    """Columns of the plates whose wells a name counts (``rockimager``): 12 of 96 wells, 24 of 384."""
    settle_s: Annotated[float, Meta(ge=0, le=600)] = 3.0
    """Of a watched folder, files that did not change for so long are complete."""
    give_up_hours: Annotated[float, Meta(gt=0)] = 24.0
    """Of a watched folder, a file that is incomplete for so long is recorded as failed."""


class Viewer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the viewer listens, and who may do what in it (docs/viewer.md)."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: all of this machine."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8765
    """TCP port to listen on."""
    sign_in: Literal["local", "users", "proxy"] = "local"
    """local: who comes from this machine is the person that runs `serve`; users: `xtalgrid user add`; proxy: by a header."""
    user_header: Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9-]{0,60}$")] = "X-Remote-User"
    """sign_in proxy: the header in which the web server before the viewer names the person."""
    trusted_proxies: tuple[str, ...] = ()
    """sign_in proxy: addresses or networks of that web server; the header of everyone else is passed over."""
    guests: bool = True
    """Whether people who did not sign in may look. They change nothing."""
    https: bool = False
    """Whether people reach the viewer by HTTPS only: cookies are then never sent without."""
    session_hours: Annotated[float, Meta(gt=0, le=24 * 366)] = 12.0
    """After so long people sign in again."""
    reviewers: tuple[str, ...] = ()
    """Who may approve and reject held scores; empty: everyone who signed in."""
    write_scores: bool = False
    """Whether a person's score is written to the imager's score table too, in their name."""
    uv: tuple[str, ...] = ("*_UV_*",)
    """Names of UV images, which are shown beside the others of their inspection."""
    thumbnails_mb: Positive = 512
    """Most megabytes of thumbnails, and of class maps, kept on disk."""
    map_processes: Annotated[int, Meta(ge=1, le=64)] = 2
    """Most processes that draw class maps at once; they start when somebody asks, and end after five minutes without work."""
    map_memory_mb: Annotated[int, Meta(ge=300)] = 1000
    """Most memory of one of them; usual are 200, the largest image takes 500. One that takes more is ended, and its map not drawn."""
    metrics_from: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses or networks that may read /metrics."""


class Alerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told of new crystals, and the mail server that tells it (docs/reports.md, Alerts)."""

    crystal_from: Part = 0.0
    """`p_crystal` from which a drop counts as one with a crystal; 0: ``work.crystal_from``."""
    days: Annotated[float, Meta(gt=0)] = 14.0
    """Crystals at older inspections, such as those of the archive, are no news."""
    smtp_host: str = ""
    """Empty: no mail; ``xtalgrid alerts`` prints."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    """TCP port of the mail server."""
    starttls: bool = True
    """Whether the connection is encrypted, by STARTTLS with the server's certificate checked."""
    user: str = ""
    """Empty: the server asks for no password."""
    password_file: str = ""
    """File whose first line is the password, readable for the service alone."""
    sender: str = ""
    """Address that mail comes from."""
    recipients: tuple[str, ...] = ()
    """Addresses that get a mail for each plate."""
    viewer_url: str = ""
    """Address of the viewer as people reach it, for links, such as ``http://xtal.lab:8765``."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the server side is told; `file` is None when there was no file."""

    home: Path
    file: Path | None = None
    imager: Imager = field(default_factory=Imager)
    ledger: Ledger = field(default_factory=Ledger)
    work: Work = field(default_factory=Work)
    grid: Grid = field(default_factory=Grid)
    boinc: Boinc = field(default_factory=Boinc)
    publish: Publish = field(default_factory=Publish)
    import_: Import = field(default_factory=Import)
    viewer: Viewer = field(default_factory=Viewer)
    alerts: Alerts = field(default_factory=Alerts)

    @property
    def imager_url(self) -> str:
        """The imager database's URL."""
        return self.imager.url or f"sqlite:///{self.home / 'imager.db'}"

    @property
    def ledger_url(self) -> str:
        """The ledger's URL."""
        return self.ledger.url or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def image_root(self) -> Path:
        """Folder of the images."""
        return Path(self.imager.image_root).expanduser() if self.imager.image_root else self.home / "images"

    @property
    def frames_dir(self) -> Path:
        """Folder of the framed images."""
        return Path(self.publish.frames_dir).expanduser() if self.publish.frames_dir else self.home / "frames"

    @property
    def spool(self) -> Path:
        """Folder that units and results pass through."""
        return self.home / "spool"

    @property
    def weights(self) -> Path:
        """Folder of the lab's own weights (`xtalgrid_server.models`)."""
        return self.home / "weights"

    @property
    def outbox(self) -> Path:
        """Folder of the finalizer's CSV files."""
        return self.home / "outbox"

    def score_code(self, outcome: Outcome) -> str | None:
        """The lab's score code of an outcome; None for those that are never written."""
        return self.imager.codes.get(outcome, outcome.code) if outcome.code is not None else None

    def outcome(self, code: str) -> Outcome | None:
        """The outcome of a lab's score code; None where it has none, of several that share one the first by priority."""
        return next((outcome for outcome in CLASSES if self.score_code(outcome) == code), None)


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "imager": Imager,
    "ledger": Ledger,
    "work": Work,
    "grid": Grid,
    "boinc": Boinc,
    "publish": Publish,
    "import": Import,
    "viewer": Viewer,
    "alerts": Alerts,
}
"""By the key of the section."""
