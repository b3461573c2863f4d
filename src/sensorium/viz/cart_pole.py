"""A picture of the cart-pole, drawn large and shrunk, so that edges are smooth."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, ENLARGED = 480, 270, 3
TRACK, POLE = 2.4, 0.6  # m
SCALE = WIDTH * 0.42 / TRACK  # pixels a metre
GROUND = 190
INK, PAPER, RAIL, CART, ROD, TIP = "#1c2833", "#fbfaf7", "#b9b4a8", "#2f5d8a", "#d1603d", "#8c2f1b"


def draw(position: float, speed: float, angle: float, spin: float, action: float | None = None, title: str = "") -> np.ndarray:
    """uint8 [270, 480, 3]: track with its ends, cart with wheels, pole; an arrow for the push, where one is given."""
    k = ENLARGED
    image = Image.new("RGB", (WIDTH * k, HEIGHT * k), PAPER)
    pen = ImageDraw.Draw(image)
    ends = [WIDTH / 2 + side * TRACK * SCALE for side in (-1, 1)]
    pen.line([(ends[0] * k, GROUND * k), (ends[1] * k, GROUND * k)], fill=RAIL, width=4 * k)
    for end in ends:
        pen.rectangle([(end - 3) * k, (GROUND - 16) * k, (end + 3) * k, (GROUND + 8) * k], fill=RAIL)
    pen.line([(WIDTH / 2 * k, (GROUND + 6) * k), (WIDTH / 2 * k, (GROUND + 13) * k)], fill=RAIL, width=2 * k)
    x = WIDTH / 2 + position * SCALE
    for wheel in (-15, 15):
        pen.ellipse([(x + wheel - 6) * k, (GROUND - 12) * k, (x + wheel + 6) * k, GROUND * k], fill=INK)
    pen.rounded_rectangle([(x - 27) * k, (GROUND - 30) * k, (x + 27) * k, (GROUND - 8) * k], 5 * k, fill=CART)
    # positive angles lean left: a push to the right makes an upright pole fall to the left, and the equations say that its angle grows
    pivot = (x, GROUND - 24)
    tip = (pivot[0] - 1.6 * POLE * SCALE * math.sin(angle), pivot[1] - 1.6 * POLE * SCALE * math.cos(angle))
    pen.line([(pivot[0] * k, pivot[1] * k), (tip[0] * k, tip[1] * k)], fill=ROD, width=8 * k)
    for centre, radius, colour in ((pivot, 5, INK), (tip, 6, TIP)):
        pen.ellipse([(centre[0] - radius) * k, (centre[1] - radius) * k, (centre[0] + radius) * k, (centre[1] + radius) * k], fill=colour)
    if action is not None and abs(action) > 0.02:
        push, y = 42 * action, GROUND + 24
        pen.line([(x * k, y * k), ((x + push) * k, y * k)], fill=INK, width=3 * k)
        head = math.copysign(7, action)
        pen.polygon([((x + push + head) * k, y * k), ((x + push) * k, (y - 5) * k), ((x + push) * k, (y + 5) * k)], fill=INK)
    if title:
        pen.text((12 * k, 8 * k), title, fill=INK, font=ImageFont.load_default(15 * k))
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
