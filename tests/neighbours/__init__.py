"""Judged runs beside other plug-ins of pytest."""
