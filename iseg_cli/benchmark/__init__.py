"""How fast iseg is, beside a plain path in the same run, and how far the machine's limit is."""
