"""What talks to a gateway, and keeps what was said."""
