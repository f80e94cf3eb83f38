"""Stores made, proved, mended and published: conversion of a published release into a store, and the ways back."""

from .convert import Forecast, convert, forecast
from .export import export, restore
from .metadata import describe
from .publish import publish
from .repair import repair
from .verify import verify

__all__ = [
    "Forecast",
    "convert",
    "describe",
    "export",
    "forecast",
    "publish",
    "repair",
    "restore",
    "verify",
]
