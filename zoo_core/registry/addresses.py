"""Addresses that a registry or a wheel may be fetched from: https, or this machine."""

from __future__ import annotations


def is_address(location: str) -> bool:
    """Return True for an address with a scheme, False for a path."""
    return "://" in location


def is_safe(address: str) -> bool:
    """Return True for https, and for http on this machine; False if the address contains a password."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        host, secret = parts.hostname, parts.username or parts.password
    except ValueError:
        return False
    if not host or secret:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
