"""Files: finding music in folders, writing whole or not at all, naming outputs, text that is safe to show."""
