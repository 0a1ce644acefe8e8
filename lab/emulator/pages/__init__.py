"""Plain read-only pages for people: what every ``web_url`` of the emulator opens."""
