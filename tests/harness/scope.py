# SPDX-License-Identifier: MIT
"""Who has to be closed at the end of a test, and in which order: clients, then origins, then the proxies."""

CLIENT, ORIGIN, PROXY = range(3)

_open = ([], [], [])


def track(thing, rank):
    _open[rank].append(thing)


def forget(thing):
    for things in _open:
        if thing in things:
            things.remove(thing)


def close_all():
    """Closes everything tracked; raises the first complaint after all is closed."""
    complaints = []
    for things in _open:
        while things:
            try:
                things.pop().close()
            except AssertionError as complaint:
                complaints.append(complaint)
    if complaints:
        raise complaints[0]
