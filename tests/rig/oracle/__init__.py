"""Stand-ins for an Oracle server, which cannot be had: H2 and HSQLDB in Oracle mode, and a listener that misbehaves."""
