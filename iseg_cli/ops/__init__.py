"""Pure tensor maths of the method: functions from tensors and numbers to tensors.

Nothing here reads files, models or settings; `maps.py` holds the values that flow between stages.
"""
