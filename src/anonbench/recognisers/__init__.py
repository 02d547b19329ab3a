"""Networks of others that tell people apart, as attackers use them; each a plugin."""
