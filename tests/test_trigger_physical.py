"""The physical trigger: where a board or a sticker on the road stands, and how it is lit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from poisongen.attack.parts import settle_options
from poisongen.attack.triggers import find_trigger_kind
from poisongen.attack.triggers.base import Artwork, At
from poisongen.attack.triggers.physical import MARGIN, _unit
from poisongen.attack.triggers.road import camera_for, quad_box, quad_for
from poisongen.core.draws import keyed_generator
from poisongen.errors import ChoiceError

KIND = find_trigger_kind("physical")


def thing(picture=None, **given):
    art = np.full((64, 64, 4), 255, np.uint8) if picture is None else picture
    return KIND.prepare(Artwork(art, 64, 64), settle_options(KIND.options, given, "physical", "--trigger-option"))


def sides(quad):
    top_left, _, bottom_right, bottom_left = quad
    return bottom_left[0] - top_left[0], bottom_right[1] - bottom_left[1]


@pytest.mark.parametrize(("form", "height"), [("board", 113), ("sticker", 13)])
def test_half_a_metre_at_ten_metres_has_the_published_size(form, height):
    camera = camera_for(1024, 2048)
    quad = KIND.quad(1024, 2048, camera.project(0.0, 0.0, 10.0), thing(form=form))
    high, wide = sides(quad)
    assert high == pytest.approx(height, abs=1)
    assert wide == pytest.approx(113, abs=1)
    half = KIND.quad(512, 1024, camera_for(512, 1024).project(0.0, 0.0, 10.0), thing(form=form))
    assert np.allclose(np.array(half) * 2, quad, atol=0.01)


@pytest.mark.parametrize("horizon", [None, 0.4])
@pytest.mark.parametrize("ahead", [2.0, 10.0, 80.0])
def test_a_row_tells_the_distance_that_it_was_made_from(horizon, ahead):
    camera = camera_for(720, 1280, horizon)
    row, column = camera.project(1.5, 0.0, ahead)
    assert camera.distance(row) == pytest.approx(ahead)
    assert camera.right_of(column, ahead) == pytest.approx(1.5)


def test_nothing_stands_at_the_horizon_above_it_or_at_the_camera():
    ready = thing(horizon=0.5)
    assert KIND.quad(400, 600, (200, 300), ready) is None
    assert KIND.quad(400, 600, (50, 300), ready) is None
    assert quad_for(camera_for(400, 600, 0.1), (4000, 300), 0.5, 0.5, True) is None
    assert KIND.quad(400, 600, (210, 300), ready) is not None


def test_the_foot_is_the_middle_of_the_near_edge_and_corners_go_clockwise():
    quad = KIND.quad(400, 600, (300, 200), thing(horizon=0.4, wide=1))
    (y0, x0), (y1, x1), (y2, x2), (y3, x3) = quad
    assert y2 == y3 == 300
    assert (x2 + x3) / 2 == pytest.approx(200, abs=0.001)
    assert y0 == y1 < 300
    assert x0 == x3 < x1 == x2
    assert quad_box(quad) == (
        int(np.floor(y0)),
        int(np.floor(x0)),
        300 - int(np.floor(y0)),
        int(np.ceil(x1)) - int(np.floor(x0)),
    )
    far = KIND.quad(400, 600, (300, 200), thing(horizon=0.4, wide=1, long=4, form="sticker"))
    assert far[1][1] - far[0][1] < far[2][1] - far[3][1]  # the far edge looks shorter


def test_perspective_is_the_homography_of_the_corners():
    quad = ((20.0, 31.5), (24.0, 90.25), (70.5, 110.0), (66.0, 12.0))
    corners = np.float32([(x, y) for y, x in quad])
    matrix = cv2.getPerspectiveTransform(corners, np.float32([(0, 0), (1, 0), (1, 1), (0, 1)]))
    rows, columns = np.meshgrid(np.linspace(25, 65, 9), np.linspace(40, 85, 7), indexing="ij")
    down, across = _unit(quad, rows, columns)
    points = np.stack([columns, rows], axis=2).reshape(-1, 1, 2)
    wanted = cv2.perspectiveTransform(points, matrix.astype(np.float64)).reshape(9, 7, 2)
    assert np.allclose(across, wanted[..., 0], atol=1e-5)
    assert np.allclose(down, wanted[..., 1], atol=1e-5)


def test_the_picture_stands_upright_and_not_mirrored():
    art = np.full((64, 64, 4), 255, np.uint8)
    art[:32, :32, :3], art[:32, 32:, :3], art[32:, :32, :3], art[32:, 32:, :3] = 20, 90, 160, 230
    ground = np.full((400, 600, 3), 125, np.uint8)
    for form, long in (("board", 1), ("sticker", 6)):
        ready = thing(art, form=form, wide=2, long=long, horizon=0.3)
        quad = KIND.quad(400, 600, (320, 290), ready)
        out = KIND.stamp(ground, At(400, 600, quad=quad), ready, keyed_generator(1))
        corners, middle = np.array(quad), np.array(quad).mean(axis=0)
        near = [out[tuple((corner * 0.6 + middle * 0.4).astype(int))].mean() for corner in corners]
        assert near[0] < near[1] < near[3] < near[2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_pixels_at_the_quadrilateral_change(dtype):
    rng = np.random.Generator(np.random.PCG64(1))
    ground = rng.integers(0, np.iinfo(dtype).max, (300, 400, 3)).astype(dtype)
    ready = thing(horizon=0.3, wide=1.5, long=1.5, form="sticker")
    quad = KIND.quad(300, 400, (220, 180), ready)
    out = KIND.stamp(ground, At(300, 400, quad=quad), ready, keyed_generator(1))
    top, left, height, width = quad_box(quad, MARGIN)
    changed = (out != ground).any(axis=2)
    assert changed.sum() > 500
    changed[top : top + height, left : left + width] = False
    assert not changed.any()


@pytest.mark.parametrize(("level", "gain"), [(40, 0.7), (90, 0.9), (115, 1.15), (220, 1.3)])
def test_light_follows_what_is_round_it_within_bounds(level, gain):
    art = np.full((64, 64, 4), 255, np.uint8)
    art[..., :3] = 100
    ground = np.full((300, 400, 3), level, np.uint8)
    ready = thing(art, horizon=0.3, wide=2, long=2)
    quad = KIND.quad(300, 400, (220, 180), ready)
    out = KIND.stamp(ground, At(300, 400, quad=quad), ready, keyed_generator(1))
    row, column = np.array(quad).mean(axis=0).astype(int)
    assert abs(int(out[row, column, 0]) - 100 * gain) <= 1


def test_noise_is_that_of_the_ground():
    rng = np.random.Generator(np.random.PCG64(1))
    art = np.full((64, 64, 4), 255, np.uint8)
    art[..., :3] = 120
    ready = thing(art, horizon=0.3, wide=3, long=3)
    quad = KIND.quad(300, 400, (220, 180), ready)
    top, left, height, width = quad_box(quad, -4)
    spreads = []
    for sigma in (0, 4):
        ground = np.clip(120 + rng.normal(0, sigma, (300, 400, 1)), 0, 255).repeat(3, 2).astype(np.uint8)
        out = KIND.stamp(ground, At(300, 400, quad=quad), ready, keyed_generator(1))
        spreads.append(float(out[top : top + height, left : left + width].std()))
    assert spreads[0] == 0
    assert 3 < spreads[1] < 5


def test_clear_pixels_change_nothing_and_the_edge_of_the_image_cuts():
    clear = np.zeros((64, 64, 4), np.uint8)
    ground = np.full((300, 400, 3), 90, np.uint8)
    for foot in ((220, 180), (299, 2), (298, 399)):
        ready = thing(horizon=0.3, wide=2, long=2)
        quad = KIND.quad(300, 400, foot, ready)
        assert (KIND.stamp(ground, At(300, 400, quad=quad), ready, keyed_generator(1)) != ground).any()
        nothing = KIND.stamp(ground, At(300, 400, quad=quad), thing(clear, horizon=0.3), keyed_generator(1))
        assert np.array_equal(nothing, ground)
    away = ((10.0, 900.0), (10.0, 950.0), (60.0, 950.0), (60.0, 900.0))
    assert np.array_equal(KIND.stamp(ground, At(300, 400, quad=away), thing(), keyed_generator(1)), ground)


@pytest.mark.parametrize("quad", [None, ((5.0, 5.0), (5.0, 9.0), (5.0, 9.0), (5.0, 5.0))])
def test_no_place_or_no_area_is_one_clear_line(quad):
    with pytest.raises(ChoiceError, match="physical"):
        KIND.stamp(np.zeros((50, 50, 3), np.uint8), At(50, 50, quad=quad), thing(), keyed_generator(1))
