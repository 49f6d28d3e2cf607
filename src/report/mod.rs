//! What a person or a program gets to read: progress, tables, JSON events, advice.
