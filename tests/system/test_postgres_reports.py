"""The tests of people's scores, reports and exports once more, with both databases on a real PostgreSQL server."""

from tests.server.conftest import *  # noqa: F403  the same fixtures, over another configuration
from tests.server.reports.conftest import inspect, xtalgrid  # noqa: F401
from tests.server.reports.test_export import *  # noqa: F403
from tests.server.reports.test_people import *  # noqa: F403
from tests.server.reports.test_people_agreement import *  # noqa: F403
from tests.server.reports.test_search import *  # noqa: F403
from tests.server.reports.test_sync import *  # noqa: F403
from tests.server.reports.test_timecourse import *  # noqa: F403

from .test_postgres import config, databases  # noqa: F401
