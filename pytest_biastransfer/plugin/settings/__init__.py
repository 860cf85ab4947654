"""The options and ini values of the plugin, read into one frozen `Settings`."""

from pytest_biastransfer.plugin.settings.declaration import add_options, ini_of
from pytest_biastransfer.plugin.settings.reading import open_pictures_as_configured, read_settings
from pytest_biastransfer.plugin.settings.session_settings import SUMMARY_VARIABLE, Settings

__all__ = ["SUMMARY_VARIABLE", "Settings", "add_options", "ini_of", "open_pictures_as_configured", "read_settings"]
