"""The decisions: given what was read, what should be done. Loops carry it out.

Law: pure. Functions take views and trees, and return what they decided; time and chance are arguments. Nothing here knows how
something was read or how it will be written.
"""
