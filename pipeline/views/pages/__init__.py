"""What every page that is written here is made of: a frame, tables, charts, pictures, a place.

A page is one file: no scripts, nothing loaded from elsewhere, every text from outside escaped.
"""
