"""The configuration: what the operator wrote in a TOML file and on the command line, checked."""

from active_call.config.handler import PlaybookHandler, WebhookHandler
from active_call.config.loader import load_config
from active_call.config.schema import Config

__all__ = ["Config", "PlaybookHandler", "WebhookHandler", "load_config"]
