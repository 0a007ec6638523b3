"""One job a module: read, compute, write.

A job takes a recipe, the store and the clock's reading, and returns plain facts. Doing it again is
safe: what is there already stays. With an `as_of` a job knows only what was known then.
"""
