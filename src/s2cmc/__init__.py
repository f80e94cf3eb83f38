"""The Sentinel-2 Cloud Mask Catalogue as one lazy xarray Dataset."""
