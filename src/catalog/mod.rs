//! What is where: members, runs, volumes, copies and intents, in SQLite.
