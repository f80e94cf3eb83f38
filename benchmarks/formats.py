"""The same scenes in the formats of the peers: HDF5, Cloud-Optimized GeoTIFF, TACO, Zarr by xarray's defaults."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import data
import numpy as np

LABELS = "labels"
DN = "dn"


def hdf5(scenes: int) -> Path:
    """One file: DN with one chunk a band, labels with one a scene, both with the codec of our store."""
    return data.kept(_folder(scenes) / "catalogue.h5", lambda out: _write_hdf5(out, scenes))


def geotiffs(scenes: int) -> list[Path]:
    """One COG a scene (deflate, predictor 2, blocks of 512, band by band), and beside it one of labels."""
    folder = data.kept(_folder(scenes) / "cog", lambda out: _write_geotiffs(out, scenes))
    return [folder / f"{position}.tif" for position in range(scenes)]


def taco(scenes: int) -> Path:
    """The GeoTIFFs in one TACO file."""
    return data.kept(_folder(scenes) / "catalogue.taco.zip", lambda out: _write_taco(out, scenes))


def naive(scenes: int) -> Path:
    """Arrays as published, stacked by dask and written by `xarray.Dataset.to_zarr`, all defaults."""
    return data.kept(_folder(scenes) / "naive.zarr", lambda out: _write_naive(out, scenes))


def _folder(scenes: int) -> Path:
    return data.bench_data() / ("scenes" if scenes == data.SCENES else "masks")


def _has_reflectance(scenes: int) -> bool:
    return scenes == data.SCENES


def _write_hdf5(out: Path, scenes: int) -> None:
    import h5py
    import hdf5plugin

    blosc = hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.BITSHUFFLE)
    side = data.SIZE
    with h5py.File(out, "w") as file:
        labels = file.create_dataset(
            LABELS, (scenes, side, side), "uint8", chunks=(1, side, side), **hdf5plugin.Zstd(clevel=9)
        )
        for position, one in enumerate(data.label_scenes(scenes)):
            labels[position] = one
        if _has_reflectance(scenes):
            dn = file.create_dataset(DN, (scenes, 13, side, side), "uint16", chunks=(1, 1, side, side), **blosc)
            for position, one in enumerate(data.dn_scenes()):
                dn[position] = one


def _write_geotiffs(out: Path, scenes: int) -> None:
    out.mkdir()
    with ThreadPoolExecutor() as pool:
        if _has_reflectance(scenes):
            list(pool.map(_write_geotiff, (out / f"{i}.tif" for i in range(scenes)), data.dn_scenes()))
        labelled = (one[None] for one in data.label_scenes(scenes))
        list(pool.map(_write_geotiff, (out / f"{i}_labels.tif" for i in range(scenes)), labelled))


def _write_geotiff(path: Path, bands: np.ndarray) -> None:
    import rasterio

    # Band by band, so that a composite need not decode all thirteen; the driver's default is pixel by pixel.
    profile = {"compress": "deflate", "predictor": 2, "blocksize": 512, "interleave": "band", "overviews": "none"}
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    place = {"crs": "EPSG:32618", "transform": rasterio.Affine(20, 0, 4e5, 0, -20, 4e6)}
    with rasterio.open(path, "w", driver="COG", **shape, **place, **profile) as file:
        file.write(bands)


def _write_taco(out: Path, scenes: int) -> None:
    from taco import Asset, Collection, Contract, Sample, open_writer

    names = ["image.tif", "labels.tif"] if _has_reflectance(scenes) else ["labels.tif"]
    collection = Collection(
        contract=Contract(structure=names),
        id="s2cmc-benchmark",
        description="Scenes and labels as GeoTIFF",
        licenses=["CC-BY-4.0"],
        providers=["s2cmc"],
    )
    with open_writer(collection, out) as writer:
        for position, image in enumerate(geotiffs(scenes)):
            files = {"image.tif": image, "labels.tif": image.with_name(f"{image.stem}_labels.tif")}
            writer.add(Sample(id=f"{position:03d}", assets=[Asset(files[name], path=name) for name in names]))
        writer.run()


def _write_naive(out: Path, scenes: int) -> None:
    import dask
    import dask.array
    import xarray as xr

    release = data.scenes_release() if _has_reflectance(scenes) else data.masks_release()
    names = data.table()["scene"][:scenes]
    side = data.SIZE

    def stacked(part: str, depth: int, dtype: str) -> dask.array.Array:
        def load(scene: str) -> np.ndarray:
            with zipfile.ZipFile(release / f"{part}.zip") as archive:
                return data.load_zipped(archive, f"{part}/{scene}.npy")

        arrays = [dask.array.from_delayed(dask.delayed(load)(name), (side, side, depth), dtype) for name in names]
        return dask.array.stack(arrays)

    variables = {"mask": (("scene", "y", "x", "class"), stacked("masks", 3, "bool"))}
    if _has_reflectance(scenes):
        variables["reflectance"] = (("scene", "y", "x", "band"), stacked("subscenes", 13, "float32"))
    xr.Dataset(variables).to_zarr(out, zarr_format=3, consolidated=False)
