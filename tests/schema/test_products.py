"""The product ID names a scene, and says which scenes are not independent of each other."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.errors import CatalogueError
from s2cmc.schema.products import Product, dependence_groups

ID = "S2A_MSIL1C_20180101T010721_N0206_R045_T53HLD_20180101T041600"


def product(tile: str = "53HLD", day: int = 1, orbit: int = 45, time: str = "010721") -> Product:
    return Product.parse(f"S2A_MSIL1C_201801{day:02d}T{time}_N0206_R{orbit:03d}_T{tile}_20180201T041600")


@pytest.fixture(scope="module")
def genuine(shared_data: Path) -> pd.DataFrame:
    """Published product IDs, and what they say."""
    table = pd.read_csv(shared_data / "classification_tags.csv")
    products = [Product.parse(scene) for scene in table["scene"]]
    return pd.DataFrame([vars(p) for p in products]).assign(group=dependence_groups(products))


def test_an_id_says_platform_time_baseline_orbit_tile_and_zone() -> None:
    assert Product.parse(ID) == Product(
        id=ID,
        platform="Sentinel-2A",
        time=datetime(2018, 1, 1, 1, 7, 21),
        processing_baseline="02.06",
        relative_orbit=45,
        mgrs_tile="53HLD",
        epsg=32753,
    )


def test_the_genuine_table_has_513_ids(genuine: pd.DataFrame) -> None:
    assert len(genuine) == 513
    assert genuine["id"].is_unique
    assert genuine["mgrs_tile"].nunique() == 507
    assert set(genuine["time"].dt.year) == {2018}
    assert genuine["relative_orbit"].between(1, 143).all()
    assert genuine["processing_baseline"].value_counts().to_dict() == {"02.06": 447, "02.07": 65, "02.08": 1}


def test_the_genuine_table_lies_in_95_zones_and_124_scenes_in_the_south(genuine: pd.DataFrame) -> None:
    assert genuine["epsg"].nunique() == 95
    assert (genuine["epsg"] % 100).nunique() == 58
    assert (genuine["epsg"] > 32700).sum() == 124


def test_the_genuine_table_has_493_dependence_groups(genuine: pd.DataFrame) -> None:
    assert genuine["group"].nunique() == 493


@pytest.mark.parametrize("letter", "CDEFGHJKLM")
def test_latitude_bands_up_to_m_are_south(letter: str) -> None:
    assert product(tile=f"01{letter}AA").epsg == 32701


@pytest.mark.parametrize("letter", "NPQRSTUVWX")
def test_latitude_bands_from_n_are_north(letter: str) -> None:
    assert product(tile=f"60{letter}AA").epsg == 32660


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("S2A", "S2E"),  # no such satellite
        ("S2A", "s2a"),
        ("MSIL1C", "MSIL2A"),  # not top of atmosphere
        ("N0206", "N206"),
        ("R045", "R45"),
        ("_T53HLD", "_53HLD"),
        ("T53HLD", "T53ILD"),  # I and O are no MGRS letters
        ("T53HLD", "T53HOD"),
        ("T53HLD", "T53HLW"),  # rows end at V
        ("T53HLD", "T53HL"),
        ("_20180101T041600", ""),
        ("041600", "041600.SAFE"),
        ("041600", "041600\n"),
        ("S2A", " S2A"),
        ("R045", "R\uff10\uff14\uff15"),  # digits, but not of ASCII
    ],
)
def test_what_is_no_level_1c_id_is_refused(old: str, new: str) -> None:
    with pytest.raises(CatalogueError, match="is no Sentinel-2 Level-1C product ID; expected a form like 'S2A_MSIL1C_"):
        Product.parse(ID.replace(old, new, 1))


@pytest.mark.parametrize("time", ["20180229T010721", "20181301T010721", "20180101T240721", "20180101T016021"])
def test_an_impossible_sensing_time_is_refused(time: str) -> None:
    with pytest.raises(CatalogueError, match="impossible sensing time"):
        Product.parse(ID.replace("20180101T010721", time, 1))


@pytest.mark.parametrize("zone", ["00", "61", "99"])
def test_zones_go_from_1_to_60(zone: str) -> None:
    with pytest.raises(CatalogueError, match=rf"names UTM zone {int(zone)}; zones go from 1 to 60"):
        Product.parse(ID.replace("T53", f"T{zone}"))


@pytest.mark.parametrize("orbit", ["000", "144", "999"])
def test_relative_orbits_go_from_1_to_143(orbit: str) -> None:
    with pytest.raises(CatalogueError, match=rf"relative orbit {int(orbit)}; .* 1 to 143"):
        Product.parse(ID.replace("R045", f"R{orbit}"))


def test_scenes_of_one_tile_are_one_group() -> None:
    assert dependence_groups([product("53HLD", 1, 45), product("53HLD", 9, 7), product("53HLE", 2, 8)]) == [0, 0, 1]


def test_scenes_of_one_date_and_orbit_are_one_group() -> None:
    products = [
        product("53HLD", 1, 45, "010721"),
        product("31UFT", 1, 45, "020000"),  # same date and orbit, whatever the hour
        product("10SDG", 1, 46),  # same date, another orbit
        product("11SKA", 2, 45),  # same orbit, another date
    ]
    assert dependence_groups(products) == [0, 0, 1, 2]


def test_links_chain() -> None:
    products = [product("53HLD", 1, 45), product("31UFT", 2, 7), product("10SDG", 3, 8), product("53HLD", 2, 7)]
    assert dependence_groups(products) == [0, 0, 1, 0]


def test_no_scene_no_group() -> None:
    assert dependence_groups([]) == []


_PRODUCTS = st.lists(
    st.builds(
        product,
        tile=st.sampled_from(["53HLD", "31UFT", "10SDG", "01CAA"]),
        day=st.integers(1, 4),
        orbit=st.integers(1, 3),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(_PRODUCTS)
def test_groups_are_the_transitive_closure_numbered_by_first_appearance(products: list[Product]) -> None:
    tile = np.array([p.mgrs_tile for p in products])
    overpass = np.array([f"{p.time:%Y%m%d} {p.relative_orbit}" for p in products])
    linked = (tile[:, None] == tile) | (overpass[:, None] == overpass)
    for _ in products:
        linked = linked @ linked

    first = [int(row.argmax()) for row in linked]
    order = list(dict.fromkeys(first))
    assert dependence_groups(products) == [order.index(i) for i in first]
