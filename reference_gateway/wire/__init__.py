"""HTTP <-> Turn. One module per wire, each a `base.Wire` in pure functions; no session state anywhere in here."""
