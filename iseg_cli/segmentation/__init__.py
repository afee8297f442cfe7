"""From attention to masks: `Segmenter`, segments without words, and what loops need of both."""
