"""The columns that we read of BOINC's tables; we write none. Times are seconds since 1970, UTC."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

apps = sa.Table(
    "app",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(254), nullable=False),
)

platforms = sa.Table(
    "platform",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(191), nullable=False),
)

app_versions = sa.Table(
    "app_version",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("appid", sa.Integer, nullable=False),
    sa.Column("version_num", sa.Integer, nullable=False),
    sa.Column("platformid", sa.Integer, nullable=False),
    sa.Column("deprecated", sa.SmallInteger, nullable=False),
    sa.Column("xml_doc", sa.LargeBinary),
)

workunits = sa.Table(
    "workunit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("create_time", sa.Integer, nullable=False),
    sa.Column("appid", sa.Integer, nullable=False),
    sa.Column("name", sa.String(191), nullable=False, unique=True),
    sa.Column("need_validate", sa.SmallInteger, nullable=False),
    sa.Column("error_mask", sa.Integer, nullable=False),
    sa.Column("assimilate_state", sa.Integer, nullable=False),
    sa.Column("min_quorum", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
)

results = sa.Table(
    "result",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("workunitid", sa.Integer, nullable=False),
    sa.Column("appid", sa.Integer, nullable=False),
    sa.Column("server_state", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Integer, nullable=False),
    sa.Column("validate_state", sa.Integer, nullable=False),
    sa.Column("hostid", sa.Integer, nullable=False),
    sa.Column("name", sa.String(254), nullable=False),
    sa.Column("exit_status", sa.Integer, nullable=False),
    sa.Column("sent_time", sa.Integer, nullable=False),
    sa.Column("report_deadline", sa.Integer, nullable=False),
    sa.Column("received_time", sa.Integer, nullable=False),
    sa.Column("stderr_out", sa.LargeBinary),
)

hosts = sa.Table(
    "host",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("domain_name", sa.String(254)),
    sa.Column("rpc_time", sa.Integer, nullable=False),
    sa.Column("os_name", sa.String(254)),
    sa.Column("p_ncpus", sa.Integer, nullable=False),
)
