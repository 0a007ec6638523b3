"""The database, readable without Python; this file makes the folder travel in the wheel."""
