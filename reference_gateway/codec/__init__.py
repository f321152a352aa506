"""Messages <-> tokens. Stateless: nothing here remembers a session, and the same arguments give the same tokens."""
