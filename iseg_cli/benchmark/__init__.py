"""`iseg benchmark`: how fast masks are made and scored, compared with a plain path in the same run.

`masks.py` measures making masks, `scoring.py` scoring them; `report.py` returns both.
"""
