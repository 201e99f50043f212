"""The configuration, section by section: every key with its default and meaning."""

from __future__ import annotations

import os
import time
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from xtalgrid_core.options import DEFAULT_RULE, DEFAULTS, ZOOM, Boxes, Cutoff, Mode, Probability, Rule, Step, Zoom
from xtalgrid_core.outcomes import CLASSES, Outcome

from ..domain.light import Light, LightRules

_CLOCKS_DIFFER = timedelta(minutes=10)
"""How far the imager's clock may be ahead of ours."""

FILE_NAME = "xtalgrid.toml"
EMBEDDED = "imager.db"
"""File under home of the embedded imager database."""

Policy = Literal["behind", "drop", "inspection", "shadow"]
Positive = Annotated[int, Meta(ge=1)]
Part = Annotated[float, Meta(ge=0, le=1)]
_MOST_DAYS = 500_000
"""As many as a date of today can be moved back by."""
Days = Annotated[float, Meta(ge=0, le=_MOST_DAYS)]
Code = Annotated[str, Meta(pattern="^[0-9A-Za-z]{2}$")]
Name = Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_$#]{0,127}$")]
"""Name of a table, column or sequence. Case does not matter."""
NameOrNone = Annotated[str, Meta(pattern="^([A-Za-z][A-Za-z0-9_$#]{0,127})?$")]


class Plate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The format of plates: 8 rows and 12 columns have 96 wells."""

    rows: Annotated[int, Meta(ge=1, le=99)]
    """Number of rows."""
    columns: Annotated[int, Meta(ge=1, le=99)]
    """Number of columns."""
    drops: Annotated[int, Meta(ge=0, le=99)] = 0
    """Drops per well; 0: any number."""


class ImagerIspyb(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ISPyB as the source of images, and how to find images there (docs/ispyb.md)."""

    url: str = ""
    """SQLAlchemy URL, mysql+pymysql://user@host/ispyb, with a read-only account; empty: not the source of images."""
    password_file: str = ""
    """File that contains the password; alternatively, set the environment variable XTALGRID_IMAGER_ISPYB_PASSWORD."""
    since: str = ""
    """Date from which on inspections are read, such as 2026-01-31; empty: all."""
    paths: dict[str, str] = field(default_factory=dict)
    """Folders as ISPyB names them, and where they are here, such as ``"/dls/vmxi" = "/mnt/vmxi"``."""
    types: dict[str, Plate] = field(default_factory=dict)
    """Formats by container type, where ISPyB's own can't be right."""


class Imager(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The imager database and its images (docs/configuration.md, section imager)."""

    url: str = ""
    """SQLAlchemy URL with a read-only account; empty: an embedded SQLite database under home."""
    write_url: str = ""
    """SQLAlchemy URL with an account that may also write scores; empty: same as url."""
    password_file: str = ""
    """File that contains the password for url; alternatively, set the environment variable XTALGRID_IMAGER_PASSWORD."""
    write_password_file: str = ""
    """File that contains the password for write_url; alternatively, set XTALGRID_IMAGER_WRITE_PASSWORD."""
    oracle_client: str = ""
    """Folder of Oracle's client libraries, for oracle+oracledb in thick mode; empty: thin mode, which needs none."""
    pool_size: Annotated[int, Meta(ge=1, le=50)] = 2
    """Maximum number of connections of each process per account; they are kept open."""
    connect_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """Time limit for opening a connection, or waiting for one of the pool."""
    statement_timeout_s: Annotated[float, Meta(gt=0, le=86400)] = 300.0
    """Time limit for a statement (Oracle, PostgreSQL)."""
    retry_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """How long to retry when the database is unavailable."""
    folder: str = ""
    """Folder in which an imager saves its images; create_work imports those that are new and complete. Empty: none."""
    image_root: str = ""
    """Folder of the images, ``<barcode>/<inspection>/<image name>``; empty: ``home/images``."""
    linked_folders: tuple[str, ...] = ()
    """Other folders in which images may lie; symbolic links under the image root may lead there and nowhere else."""
    source: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")] = "crystaltrak"
    """Name of this imager in the ledger, which holds the images of one imager."""
    owner: NameOrNone = ""
    """Schema that owns the vendor's tables, CRYSTAL at many labs; empty: none."""
    sequence: NameOrNone = "SEQ_JTNG_SCORE_ID"
    """Sequence for new score ids, on databases that have sequences; empty: the database fills SCOREID itself."""
    time_zone: str = "UTC"
    """Time zone of the imager database's naive local dates."""
    patterns: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    """Names of the images to score, with the wildcards * and ?, such as ``*_HF_99_*``."""
    exclude: tuple[str, ...] = ("*_ART.*",)
    """Names of images that are never scored; our own framed images would otherwise match the patterns."""
    light: dict[Light, tuple[str, ...]] = field(default_factory=dict)
    """Names by light, ``visible``, ``uv`` or ``other``, where names don't tell it by themselves; only visible images
    are scored."""
    pixel_size_um: Annotated[float, Meta(ge=0.05, le=50)] | None = None
    """Micrometres per pixel; if not set: that of known imagers, recognised by image size, else a guess."""
    scored_by: Annotated[str, Meta(min_length=1, max_length=30)] = "ARTscore"
    """SCOREDBY in the rows we write."""
    automatic: tuple[str, ...] = ()
    """Other SCOREDBY names that are programs, not people."""
    not_scored: tuple[str, ...] = ("20",)
    """Score codes that mean "not scored"."""
    look_back_days: Days = 14.0
    """Maximum age of a row of the score table, by its date, for `sync` to notice that it was changed or deleted."""
    tables: dict[str, Name] = field(default_factory=dict)
    """The lab's table names that differ from the vendor's (docs/imager-databases.md)."""
    columns: dict[str, dict[str, Name]] = field(default_factory=dict)
    """The lab's column names that differ from the vendor's, by table."""
    ispyb: ImagerIspyb = field(default_factory=ImagerIspyb)
    """ISPyB as the source of images, and how to find images there."""
    codes: dict[str, Code] = field(default_factory=dict)
    """The lab's score codes that differ from the published ones, such as ``"crystals harvestable" = "45"``."""

    def is_persons(self, by: str, code: str) -> bool:
        """Return whether a row of the score table is a person's: not a program's, and not "not scored"."""
        return by not in self.programs and code not in self.not_scored

    @property
    def programs(self) -> tuple[str, ...]:
        """SCOREDBY names of programs, ours first."""
        return self.scored_by, *self.automatic

    def utc(self, local: datetime) -> datetime:
        """Convert a naive local date of the imager database to naive UTC; the first and last possible stay as given."""
        try:
            return local.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone)).astimezone(UTC).replace(tzinfo=None)
        except OverflowError:  # Oracle's first date, 0001-01-01, east of Greenwich
            return local

    def latest_date(self) -> datetime:
        """Return the latest date that an inspection can have: now, in naive local time, with room for its clock."""
        return self.local(time.time()) + _CLOCKS_DIFFER

    def local(self, seconds: float) -> datetime:
        """Convert seconds since 1970 to a date as in the imager database: naive local time, whole seconds."""
        zone = zoneinfo.ZoneInfo(self.time_zone)
        return datetime.fromtimestamp(seconds, zone).replace(tzinfo=None, microsecond=0)


class Ledger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our own database."""

    url: str = ""
    """SQLAlchemy URL; empty: a SQLite database under home."""


class UndecidedBelow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Least probability with which a well is called one of a group; below it, the well is undecided."""

    crystal: Part = 0.0
    """Crystals, if it is above ``work.crystal_from``."""
    precipitate: Part = 0.0
    """Precipitate."""
    other: Part = 0.0
    """Other things, and wells without a drop."""
    clear: Part = 0.0
    """Clear drops."""


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images are packed and scored."""

    wells_per_unit: Annotated[int, Meta(ge=1, le=5000)] = 100
    """Wells per unit for inspections within `look_back_days` of the newest; few, because people wait for the scores."""
    wells_per_backfill_unit: Annotated[int, Meta(ge=1, le=5000)] = 1000
    """Wells per unit for older inspections."""
    max_unit_mb: Positive = 400
    """Maximum size of the images in a unit, in megabytes."""
    limit: Positive = 10_000
    """Maximum number of images that one run of create_work plans."""
    look_back_days: Days = 3.0
    """How far behind the newest inspection to look for late images; at the first run, older images are the archive."""
    backfill_per_hour: Positive = 5000
    """Maximum number of archive images that ``create_work --backfill`` plans per hour."""
    backfill_under_way: Positive = 50_000
    """Maximum number of older images, of the archive or imported, in units that have not come back; the rest waits."""
    rule: Rule = DEFAULT_RULE
    """Which chops decide the outcome: all together (pooled), or the best (group; published, as in the paper)."""
    threshold: Cutoff = DEFAULTS.threshold
    """Rules published and group: minimum probability for a chop to count."""
    mode: Mode = DEFAULTS.mode
    """dense: all chops from one class map of the drop; exact: one by one as in the paper, many times slower."""
    step: Step = DEFAULTS.step
    """Distance between chops, in pixels at the reference scale; dense: a multiple of 16. The paper's is 50."""
    n_boxes: Boxes = DEFAULTS.n_boxes
    """Number of best chops listed in a score and shown in a framed image."""
    support: Probability = DEFAULTS.support
    """Rule group: fraction of the chops covering a point that must agree on a crystal; 0: one is enough."""
    crystal_from: Cutoff = DEFAULTS.crystal_from
    """Rule pooled: minimum p_crystal to call a well a crystal. Lower: fewer missed crystals, more false ones."""
    undecided: Part | UndecidedBelow = 0.0
    """Rule pooled: a well of a lower probability is undecided; one number, or one for each group; 0: never."""
    zoom: Zoom = ZOOM
    """Rule pooled: images of a guessed scale are scored a second time, as if magnified so many times; 1: once."""
    segmenter: str = ""
    """SHA-256 of the segmenter's weights; empty: those promoted last, else the package's default."""
    classifier: str = ""
    """SHA-256 of the classifier's weights; empty: as for the segmenter."""
    second_opinion: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """SHA-256 of a network for a second opinion, such as MARCO's (docs/models.md); empty: none."""


class Grid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where workers run."""

    kind: Literal["local", "boinc"] = "local"
    """local: as processes on this machine, controlled by the keys below; boinc: see section boinc."""
    workers: Annotated[int, Meta(ge=1, le=512)] = max(1, min(os.cpu_count() or 1, 8))
    """Number of processes, one core each. Default: one per core, at most 8."""
    attempts: Positive = 3
    """How many times a unit that makes no progress is tried before it is given up."""
    patience_minutes: Annotated[float, Meta(gt=0)] = 10.0
    """A worker that finishes no image for this long is killed and its unit tried again."""


class Boinc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The BOINC project that distributes the work, and the limits of its work units (docs/boinc.md)."""

    project: str = ""
    """Folder of the BOINC project, which contains config.xml and bin/."""
    app: Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,40}$")] = "xtalgrid"
    """Name of the BOINC application."""
    database: str = ""
    """SQLAlchemy URL of the project's database; empty: the one in the project's config.xml."""
    quorum: Annotated[int, Meta(ge=1, le=5)] = 1
    """Number of hosts that score each unit."""
    spot_checks: Part = 0.05
    """Fraction of the units, chosen at random, that two hosts score when the quorum is 1."""
    max_errors: Annotated[int, Meta(ge=1, le=50)] = 3
    """A unit is given up when more hosts than this have failed on it."""
    max_results: Annotated[int, Meta(ge=1, le=100)] = 8
    """Maximum number of times a unit is sent out before it is given up."""
    deadline_days: Annotated[float, Meta(gt=0, le=365)] = 1.0
    """Time a host has for a unit of fresh images before the unit is sent to another host."""
    backfill_deadline_days: Annotated[float, Meta(gt=0, le=365)] = 7.0
    """Time a host has for a unit of archive images."""
    gflop_per_well: Annotated[float, Meta(gt=0)] = 2.0
    """Estimate: core-seconds per well times a core's speed in BOINC's benchmark, about 4 GFLOPS. BOINC corrects it."""
    memory_mb: Positive = 600
    """Maximum memory a unit may use on a host."""
    disk_mb: Positive = 1500
    """Maximum disk space of a host's slot folder and the result, most of it for the unpacked program."""
    batch: Annotated[int, Meta(ge=1, le=500)] = 20
    """Number of units per call of BOINC's tools."""


class HoldRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores that a lab reviews before users see them: those of an outcome or group below a probability."""

    outcome: str
    """An outcome, or a group of outcomes such as `crystal`."""
    below: Part = 1.0
    """Scores below this probability are held; 1.0 holds all of them."""
    on: Literal["probability", "p_crystal"] = "probability"
    """Which probability to compare: that of the outcome, or the calibrated probability of a crystal."""


class PublishIspyb(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ISPyB as a place where ARTscores are published (docs/ispyb.md). Time limits are those of the imager database."""

    url: str = ""
    """SQLAlchemy URL, mysql+pymysql://user@host/ispyb, with an account that may write scores; empty: no ISPyB."""
    password_file: str = ""
    """File that contains the password; alternatively, set the environment variable XTALGRID_PUBLISH_ISPYB_PASSWORD."""
    schema: Annotated[str, Meta(min_length=1, max_length=25)] = "ARTscore"
    """Name of the auto-score schema, which `xtalgrid ispyb-schema` prints for the database's administrator."""
    classes: tuple[str, ...] = ("crystal", "precipitant", "other", "clear")
    """Its classes for crystal, precipitate, other and clear; SynchWeb expects these names."""
    marks: bool = False
    """Whether people's marks become sub-samples, with their positions, which SynchWeb shows in its lists."""


class Publish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How scores are published."""

    policy: Policy = "behind"
    """Where ARTscores are written beside people's scores; shadow: nowhere."""
    hold: tuple[HoldRule, ...] = ()
    """Scores that wait for `approve` or `reject`."""
    frames: Literal["none", "crystals", "all"] = "crystals"
    """Which framed images to draw when scores are finalized; crystals includes undecided wells."""
    frames_dir: str = ""
    """Folder of the framed images; empty: ``home/frames``. CrystalTrak shows only images under its image root."""
    frames_days: Days = 0.0
    """How many days to keep framed images; 0: forever. The viewer redraws them on demand."""
    image_rows: bool = False
    """Whether to add the framed images to the imager's table of images."""
    autoscores: bool = False
    """Whether to write to the lab's own table of machine scores too (``imager.tables.autoscores``)."""
    score_table: bool = True
    """Whether to write to the imager's score table; false: only elsewhere, in ISPyB."""
    ispyb: PublishIspyb = field(default_factory=PublishIspyb)
    """ISPyB, beside or instead of the score table."""


class Import(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How ``import-folder`` reads file names."""

    names: str = "rigaku"
    """A convention such as ``rigaku`` or ``rockimager``, ``any``, or the lab's own pattern (docs/configuration.md)."""
    plates: dict[str, Plate] = field(default_factory=dict)
    """Formats of plates by barcode, with the wildcards * and ?: ``"MAXI*" = { rows = 8, columns = 6, drops = 1 }``."""
    plate_columns: Annotated[int, Meta(ge=0, le=99)] = 0
    """Columns of all other plates, where names give a well number; 0: inferred from each plate's highest number."""
    dashed_dates: Literal["unread", "month first", "day first"] = "unread"
    """How to read dates such as 01-02-2024 or 01_02_2024 in names of files and folders."""
    settle_s: Annotated[float, Meta(ge=0, le=600)] = 3.0
    """A file in a watched folder is complete once it has not changed for this long."""
    give_up_hours: Annotated[float, Meta(gt=0, le=_MOST_DAYS * 24)] = 24.0
    """A file in a watched folder that is still incomplete after this long is recorded as failed."""


class OwnScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A score of the lab's own set, which people give in the viewer."""

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    """Its name on the button and beside the person's name."""
    outcome: str
    """The outcome that it counts as, in lists, statistics and exports."""
    key: Annotated[str, Meta(pattern="^[a-z0-9]?$")] = ""
    """The key to press; not a, b, d, f, g, h, m, n, r, s, u or v, which have a use already."""
    colour: Annotated[str, Meta(pattern="^(#[0-9a-fA-F]{6})?$")] = ""
    """Its colour, such as ``#c02020``; empty: the outcome's."""
    code: Annotated[str, Meta(pattern="^([0-9A-Za-z]{2})?$")] = ""
    """Its code in the imager's score table; empty: the outcome's, as in ``imager.codes``."""


class Viewer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the viewer listens, and who may do what in it (docs/viewer.md)."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: all addresses of this machine."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8765
    """TCP port to listen on."""
    sign_in: Literal["local", "users", "proxy"] = "local"
    """local: by a link for the account that runs `serve`; users: see `xtalgrid user add`; proxy: by a header."""
    user_header: Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9-]{0,60}$")] = "X-Remote-User"
    """sign_in proxy: the header in which the web server in front of the viewer sends the user's name."""
    groups_header: Annotated[str, Meta(pattern="^([A-Za-z][A-Za-z0-9-]{0,60})?$")] = ""
    """sign_in proxy: the header in which it sends the user's groups, separated by commas; empty: none."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of that web server; in all other requests, its header and X-Forwarded-… are ignored."""
    url: str = ""
    """Address at which people reach the viewer, such as ``https://lab.example/xtalgrid``; also for links in mails."""
    hosts: tuple[str, ...] = ()
    """More host names that lead here, besides that of `url`, this machine's own, and addresses; others are refused."""
    guests: bool = True
    """Whether people can view without signing in. They cannot change anything."""
    https: bool = False
    """Whether the viewer is reached by HTTPS only, as with an https `url`; cookies are never sent without it."""
    session_hours: Annotated[float, Meta(gt=0, le=24 * 366)] = 12.0
    """Hours after which people must sign in again."""
    reviewers: tuple[str, ...] = ()
    """People, or with "@group" groups, who may approve and reject held scores; empty: everyone who is signed in."""
    visibility: Literal["everybody", "projects"] = "everybody"
    """Who sees a plate: everybody, or only people of its project, by `people_file` (docs/viewer.md, Who sees what)."""
    people_file: str = ""
    """CSV file with the people of each project, in the columns project and person; empty: none."""
    see_all: tuple[str, ...] = ()
    """visibility projects: people, or with "@group" groups, who see all plates; so do those that `reviewers` names."""
    without_project: Literal["hidden", "shown"] = "hidden"
    """visibility projects: whether people who are signed in see plates of no project."""
    write_scores: bool = False
    """Whether to write people's scores to the imager's score table too, in their names."""
    scores: tuple[OwnScore, ...] = ()
    """The lab's own set of scores, in the order of their buttons; empty: the 12 outcomes, with c, p, o, x as keys."""
    uv: tuple[str, ...] = ()
    """Deprecated: more names for ``imager.light.uv``."""
    thumbnails_mb: Positive = 512
    """Maximum disk space for thumbnails, and as much again for class maps."""
    map_processes: Annotated[int, Meta(ge=1, le=64)] = 1
    """Maximum number of processes that draw class maps; they start on demand and stop after five idle minutes."""
    map_memory_mb: Annotated[int, Meta(ge=300)] = 1000
    """Memory limit of such a process; above it, the process is stopped. Usual: 200; the largest image: 500."""
    metrics_from: tuple[str, ...] = ()
    """Addresses or networks that may read /metrics without the token, but not this machine's or trusted_proxies."""

    access_log_mb: Positive = 10
    """Size at which home/access.log becomes access.log.1, in megabytes."""
    access_log_files: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Number of these files that are kept."""

    @property
    def is_https(self) -> bool:
        """Whether cookies are sent by HTTPS only."""
        return self.https or self.url.startswith("https:")


class Alerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which new crystals to report, and by which mail server (docs/reports.md, Alerts)."""

    crystal_from: Part = 0.0
    """Minimum `p_crystal` to report a drop; 0: ``work.crystal_from``."""
    days: Annotated[float, Meta(gt=0, le=_MOST_DAYS)] = 14.0
    """Maximum age of the inspection in days; older crystals, such as those of the archive, are not reported."""
    smtp_host: str = ""
    """Host name of the mail server; empty: ``xtalgrid alerts`` sends no mail and prints instead."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    """TCP port of the mail server."""
    starttls: bool = True
    """Whether to encrypt the connection, by STARTTLS; the server's certificate is checked."""
    user: str = ""
    """Account on the mail server; empty: the server needs no password."""
    password_file: str = ""
    """File whose first line is the password; only the service should be able to read it."""
    sender: str = ""
    """Sender's address."""
    recipients: tuple[str, ...] = ()
    """Addresses to which a mail is sent for each plate."""
    domains: tuple[str, ...] = ()
    """Domains of the addresses to which people may have mails sent, by their page in the viewer; empty: none."""
    digest_hour: Annotated[int, Meta(ge=0, le=23)] = 7
    """Hour of the day, in imager.time_zone, of daily digests, and of weekly ones on Mondays."""


When = Literal["at once", "daily", "weekly"]
WebhookKind = Literal["slack", "teams", "mattermost", "json"]


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address that is told of new crystals."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")]
    """Its name in messages; each has its own."""
    kind: WebhookKind
    """What listens there: an incoming webhook of slack or mattermost, a workflow of teams, or a program (json)."""
    url_file: str
    """File whose first line is the address, which is a secret; only the service should be able to read it."""
    projects: tuple[str, ...] = ()
    """The projects whose crystals it is told of; empty: all."""
    crystal_from: Part = 0.0
    """Minimum `p_crystal`; 0: as in section alerts."""
    when: When = "at once"
    """How often: with each run of `alerts`, or as a digest."""


class Webhooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Webhooks that are told of new crystals (docs/reports.md, Webhooks)."""

    hooks: tuple[Webhook, ...] = ()
    """The lab's own, such as one for each project."""
    people: bool = False
    """Whether people may have one of their own, by their page in the viewer."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts, ``name`` or ``name:port``, that may have an inner address and be reached by http."""


class Scores(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How ``import-scores`` reads the lab's tables (docs/exchange.md)."""

    columns: dict[str, str] = field(default_factory=dict)
    """Headings of the lab's columns that are not recognised, such as ``score = "User rating"``."""
    names: dict[str, str] = field(default_factory=dict)
    """What the lab's words mean: ``"3D" = "crystals harvestable"``, ``"Needles" = "any crystal"``; empty: no score."""
    plates: dict[str, str] = field(default_factory=dict)
    """Barcodes of plates that other programs know by another name, such as a number: ``"3100" = "CI022987"``."""
    slashed_dates: Literal["refused", "month first", "day first"] = "refused"
    """How to read dates such as 01/02/2024."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration; `file` is None if there was no file."""

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
    scores: Scores = field(default_factory=Scores)
    webhooks: Webhooks = field(default_factory=Webhooks)

    @property
    def imager_url(self) -> str:
        """URL of the imager database."""
        return self.imager.url or f"sqlite:///{self.home / EMBEDDED}"

    @property
    def ledger_url(self) -> str:
        """URL of the ledger."""
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
        """Folder of the units and results in progress."""
        return self.home / "spool"

    @property
    def weights(self) -> Path:
        """Folder of the lab's own weights (`storage.weights`)."""
        return self.home / "weights"

    @property
    def outbox(self) -> Path:
        """Folder of the finalizer's CSV files."""
        return self.home / "outbox"

    @property
    def light(self) -> LightRules:
        """Tells the light of images by their names."""
        named = self.imager.light
        uv = (*named.get(Light.UV, ()), *self.viewer.uv)
        return LightRules({**named, Light.UV: uv}, self.imager.patterns)

    def score_code(self, outcome: Outcome) -> str | None:
        """Return the lab's score code for an outcome; None for outcomes that are never written."""
        return self.imager.codes.get(outcome, outcome.code) if outcome.code is not None else None

    def outcome(self, code: str) -> Outcome | None:
        """Return the outcome for a lab's score code, the first by priority if several share it; None if none has it."""
        own = next((score for score in self.viewer.scores if score.code == code), None) if code else None
        if own is not None:
            return Outcome(own.outcome)
        return next((outcome for outcome in CLASSES if self.score_code(outcome) == code), None)

    def own_name(self, code: str) -> str:
        """Return the name that the lab's own set has for a code of the score table; empty if it has none."""
        return next((score.name for score in self.viewer.scores if self.own_code(score) == code), "")

    def own_code(self, score: OwnScore) -> str:
        """Return the code of a score of the lab's own set."""
        return score.code or self.score_code(Outcome(score.outcome)) or ""


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
    "scores": Scores,
    "webhooks": Webhooks,
}
"""Section name → its struct."""
