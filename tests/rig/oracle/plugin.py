"""A pytest plugin, ``-p tests.rig.oracle.plugin``: URLs of Oracle lead to H2 or HSQLDB in this process."""

from . import driver

driver.install()
