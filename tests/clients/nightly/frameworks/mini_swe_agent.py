# /// script
# dependencies = ["mini-swe-agent==2.4.6"]
# ///
"""mini-swe-agent, which never streams. Arguments: base URL, key, nonce, `plain`."""

