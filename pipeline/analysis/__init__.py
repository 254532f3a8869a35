"""Numbers to statistics, tables and figures."""
