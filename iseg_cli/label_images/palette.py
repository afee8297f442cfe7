"""The palette of PASCAL VOC, by which most tools colour masks."""


def voc_color(label: int) -> tuple[int, int, int]:
    """Return the RGB colour, 0 to 255 each, that VOC's palette gives to a label (0 to 255).

    VOC's formula gives the label's lowest three bits to the highest bit of red, green and blue,
    the next three bits to the second highest bit, and so on.

    Example:
        >>> voc_color(15)
        (192, 128, 128)
    """
    red = green = blue = 0
    for group in range(8):
        three_bits = label >> (3 * group)
        red |= (three_bits & 1) << (7 - group)
        green |= (three_bits >> 1 & 1) << (7 - group)
        blue |= (three_bits >> 2 & 1) << (7 - group)
    return red, green, blue
