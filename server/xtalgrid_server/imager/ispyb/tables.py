"""The tables and columns of ISPyB that are used, by their documented names.

The schema itself (github.com/DiamondLightSource/ispyb-database) is LGPL and not part of this program. Keys between
tables are left out here: they are the database's affair.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

containers = sa.Table(
    "Container",
    metadata,
    sa.Column("containerId", sa.Integer, primary_key=True),
    sa.Column("barcode", sa.String(45), unique=True),
    sa.Column("containerType", sa.String(20)),
    sa.Column("containerTypeId", sa.Integer),
    sa.Column("capacity", sa.Integer),
)
types = sa.Table(
    "ContainerType",
    metadata,
    sa.Column("containerTypeId", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100)),
    sa.Column("capacity", sa.Integer),
    sa.Column("wellPerRow", sa.SmallInteger),
    sa.Column("dropPerWellX", sa.SmallInteger),
    sa.Column("dropPerWellY", sa.SmallInteger),
    sa.Column("wellDrop", sa.SmallInteger),
)
samples = sa.Table(
    "BLSample",
    metadata,
    sa.Column("blSampleId", sa.Integer, primary_key=True),
    sa.Column("containerId", sa.Integer, index=True),
    sa.Column("location", sa.String(45)),
)
inspection_types = sa.Table(
    "InspectionType",
    metadata,
    sa.Column("inspectionTypeId", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(45)),
)
inspections = sa.Table(
    "ContainerInspection",
    metadata,
    sa.Column("containerInspectionId", sa.Integer, primary_key=True),
    sa.Column("containerId", sa.Integer, nullable=False, index=True),
    sa.Column("inspectionTypeId", sa.Integer, nullable=False),
    sa.Column("blTimeStamp", sa.DateTime),
    sa.Column("completedTimeStamp", sa.DateTime),
)
images = sa.Table(
    "BLSampleImage",
    metadata,
    sa.Column("blSampleImageId", sa.Integer, primary_key=True),
    sa.Column("blSampleId", sa.Integer, nullable=False, index=True),
    sa.Column("containerInspectionId", sa.Integer, index=True),
    sa.Column("imageFullPath", sa.String(255), unique=True),
    sa.Column("blSampleImageScoreId", sa.Integer),
    sa.Column("blTimeStamp", sa.DateTime),
    sa.Column("modifiedTimeStamp", sa.DateTime),
)
scores = sa.Table(
    "BLSampleImageScore",
    metadata,
    sa.Column("blSampleImageScoreId", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(45)),
)
schemas = sa.Table(
    "BLSampleImageAutoScoreSchema",
    metadata,
    sa.Column("blSampleImageAutoScoreSchemaId", sa.Integer, primary_key=True),
    sa.Column("schemaName", sa.String(25), nullable=False),
    sa.Column("enabled", sa.SmallInteger),
)
classes = sa.Table(
    "BLSampleImageAutoScoreClass",
    metadata,
    sa.Column("blSampleImageAutoScoreClassId", sa.Integer, primary_key=True),
    sa.Column("blSampleImageAutoScoreSchemaId", sa.Integer),
    sa.Column("scoreClass", sa.String(15), nullable=False),
)
positions = sa.Table(
    "Position",
    metadata,
    sa.Column("positionId", sa.Integer, primary_key=True),
    sa.Column("posX", sa.Double),
    sa.Column("posY", sa.Double),
)
sub_samples = sa.Table(
    "BLSubSample",
    metadata,
    sa.Column("blSubSampleId", sa.Integer, primary_key=True),
    sa.Column("blSampleId", sa.Integer, nullable=False, index=True),
    sa.Column("diffractionPlanId", sa.Integer),
    sa.Column("blSampleImageId", sa.Integer, index=True),
    sa.Column("positionId", sa.Integer, index=True),
    sa.Column("position2Id", sa.Integer, index=True),
    sa.Column("comments", sa.String(1024)),
    sa.Column("source", sa.Enum("manual", "auto"), server_default="manual"),
    sa.Column("type", sa.String(10)),
)
queued = sa.Table(
    "ContainerQueueSample",
    metadata,
    sa.Column("containerQueueSampleId", sa.Integer, primary_key=True),
    sa.Column("blSubSampleId", sa.Integer, index=True),
)
auto_scores = sa.Table(
    "BLSampleImage_has_AutoScoreClass",
    metadata,
    sa.Column("blSampleImageId", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("blSampleImageAutoScoreClassId", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("probability", sa.Float),
)
