"""The long-running programs: how each is put together and how it ends."""
