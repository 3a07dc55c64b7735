"""Python's selectors over libselectors.so: how to write a binding, in one file of ctypes.

    from selectors_native import DefaultSelector, EVENT_READ

The classes are those of the standard library: EpollSelector, PollSelector, SelectSelector ..., one for
each backend that can be used here, plug-ins included. DefaultSelector is the one that SELECTORS_BACKEND
names when the module is imported, or the best. Beyond the standard library, threads may share a
selector, regular files are always ready, and wakeup() ends a wait.

What every binding has to decide:

- Errors: each function returns a negative errno value. _check() turns it into an exception with the
  text of sel_last_error(), which belongs to the calling thread.
- Memory: the array of events is made once, and grows when descriptors are registered. A wait allocates
  none.
- Lifetime: sel_close() frees the selector, so no other thread may be about to call. A _Handle closes it
  when the last reference is gone; ctypes holds one to each argument of a call.
- Signals: Python runs its handlers after the call, not in it. So the selector is interruptible, and
  select() waits again for the time that is left (PEP 475), unless a handler has raised.
- Locks: ctypes releases the GIL during a call.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import ctypes
import errno
import math
import threading
import time
from collections.abc import Mapping
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey

_FOREVER = -1
_LONGEST = 2**63 - 1  # ns
_CAN_FILENO = 0x1


class _Key(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_uint32), ("data", ctypes.c_void_p)]


class _Event(ctypes.Structure):
    _fields_ = [("key", _Key), ("events", ctypes.c_uint32), ("detail", ctypes.c_uint32)]


class _BackendInfo(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("reason", ctypes.c_char_p),
        ("origin", ctypes.c_char_p),
        ("rank", ctypes.c_int),
        ("capabilities", ctypes.c_uint32),
    ]


def _check(result, function, arguments):
    """Returns what a function has returned, or raises what the standard library would."""
    if result >= 0 or result == -errno.EINTR:
        return result
    words = _last_error().decode(errors="replace")
    if result in (-errno.EEXIST, -errno.ENOENT):
        raise KeyError(words)
    if result == -errno.EINVAL:
        raise ValueError(words)
    raise OSError(-result, words)


_library = ctypes.CDLL("libselectors.so.1")


def _function(name, *argument_types):
    function = getattr(_library, name)
    function.argtypes = argument_types
    function.restype = ctypes.c_int
    function.errcheck = _check
    return function


# Without argtypes ctypes would cut a pointer down to an int.
_selector = ctypes.c_void_p
_open = _function("sel_open", ctypes.POINTER(_selector), ctypes.c_char_p)
_close = _function("sel_close", _selector)
_register = _function("sel_register", _selector, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)
_modify = _function("sel_modify", _selector, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)
_unregister = _function("sel_unregister", _selector, ctypes.c_int, ctypes.c_void_p)
_select = _function("sel_select", _selector, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_wakeup = _function("sel_wakeup", _selector)
_fileno = _function("sel_fileno", _selector)
_set_interruptible = _function("sel_set_interruptible", _selector, ctypes.c_int)
_backends = _function("sel_backends", ctypes.c_void_p, ctypes.c_int)
_backend_name = _library.sel_backend_name
_backend_name.argtypes, _backend_name.restype = (_selector,), ctypes.c_char_p
_last_error = _library.sel_last_error
_last_error.argtypes, _last_error.restype = (), ctypes.c_char_p


class _Handle:
    """Owns a sel_selector: closed with the last reference, which a call in another thread may be."""

    def __init__(self, backend):
        self._as_parameter_ = _selector()
        _open(ctypes.byref(self._as_parameter_), backend)
        _set_interruptible(self, True)

    def __del__(self, _close=_close):
        _close(self._as_parameter_)  # NULL, if it could not be opened, is no error


class _Map(Mapping):
    """The registrations, by file object or descriptor."""

    def __init__(self, selector):
        self._selector = selector

    def __len__(self):
        return len(self._selector._keys)

    def __iter__(self):
        return iter(self._selector._keys)

    def __getitem__(self, fileobj):
        key = self._selector._keys.get(self._selector._descriptor(fileobj))
        if key is None:
            raise KeyError(f"{fileobj!r} is not registered")
        return key


class _NativeSelector(BaseSelector):
    """What the classes below share. They differ in the name of the backend."""

    _backend = None

    def __init__(self):
        self._handle = _Handle(self._backend)
        self._keys = {}  # by descriptor
        self._map = _Map(self)
        self._lock = threading.RLock()  # a change of the library's set and of the keys is one
        self._arrays = []  # those that no thread waits with
        self._capacity = 64
        self._array_type = _Event * self._capacity

    def _descriptor(self, fileobj):
        """The descriptor of a file object; of one that was closed, that it was registered with."""
        try:
            fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
            if fd >= 0:
                return fd
        except (AttributeError, TypeError, ValueError):
            pass
        for key in list(self._keys.values()):
            if key.fileobj is fileobj:
                return key.fd
        raise ValueError(f"Invalid file object: {fileobj!r}")

    @staticmethod
    def _check_events(events):
        # The library knows more, which a user of selectors does not expect.
        if not events or events & ~(EVENT_READ | EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")

    def register(self, fileobj, events, data=None):
        self._check_events(events)
        key = SelectorKey(fileobj, self._descriptor(fileobj), events, data)
        with self._lock:
            _register(self._handle, key.fd, events, None)
            self._keys[key.fd] = key
            if len(self._keys) > self._capacity:  # select() returns all that are ready
                self._capacity *= 2
                self._array_type = _Event * self._capacity
                self._arrays.clear()
                self._arrays.append(self._array_type())
        return key

    def modify(self, fileobj, events, data=None):
        self._check_events(events)
        fd = self._descriptor(fileobj)
        with self._lock:
            _modify(self._handle, fd, events, None)
            key = self._keys[fd] = self._keys[fd]._replace(events=events, data=data)
        return key

    def unregister(self, fileobj):
        fd = self._descriptor(fileobj)
        with self._lock:
            _unregister(self._handle, fd, None)
            return self._keys.pop(fd)

    def select(self, timeout=None):
        handle, ready, deadline, remaining = self._handle, [], None, _FOREVER
        if handle is None:
            raise ValueError("Selector is closed")
        if timeout is not None:
            remaining = min(max(0, math.ceil(timeout * 1e9)), _LONGEST)
            deadline = time.monotonic_ns() + remaining
        try:
            array = self._arrays.pop()
        except IndexError:  # the first wait, or other threads wait with the others
            array = self._array_type()
        try:
            # After each call Python runs the handlers of signals, and one may raise.
            while (count := _select(handle, array, len(array), remaining)) == -errno.EINTR:
                if deadline is not None:
                    remaining = max(0, deadline - time.monotonic_ns())
            if self._handle is None:
                _wakeup(handle)  # close() has woken this thread, which wakes the next one
                raise ValueError("Selector is closed")
            with self._lock:
                for index in range(count):
                    event = array[index]
                    # Another thread may have unregistered it meanwhile.
                    key = self._keys.get(event.key.fd)
                    if key is not None and event.events & key.events:
                        ready.append((key, event.events & key.events))
        finally:
            if len(array) == self._capacity:
                self._arrays.append(array)
        return ready

    def wakeup(self):
        """Ends a select() in another thread, now or the next one. Not in the standard library."""
        _wakeup(self._handle)

    def close(self):
        handle, self._handle, self._map = self._handle, None, None
        self._keys.clear()
        if handle is not None:
            with contextlib.suppress(OSError):  # its descriptors may have been closed
                _wakeup(handle)

    def get_map(self):
        return self._map


class _FilenoSelector(_NativeSelector):
    def fileno(self):
        """The descriptor of the selector itself, to be registered with another one."""
        return _fileno(self._handle)


def _available():
    """The backends that can be used here, the best first."""
    infos = (_BackendInfo * _backends(None, 0))()
    return [info for info in infos[: _backends(infos, len(infos))] if info.reason is None]


def _default():
    """The backend of SELECTORS_BACKEND, or the best one."""
    return _backend_name(_Handle(None))


_classes = {
    info.name: type(
        info.name.decode().capitalize() + "Selector",
        (_FilenoSelector if info.capabilities & _CAN_FILENO else _NativeSelector,),
        {"_backend": info.name, "__module__": __name__, "__doc__": f"By {info.name.decode()}."},
    )
    for info in _available()
}
globals().update({class_.__name__: class_ for class_ in _classes.values()})
DefaultSelector = _classes[_default()]

__all__ = ["EVENT_READ", "EVENT_WRITE", "BaseSelector", "DefaultSelector", "SelectorKey"]
__all__ += [class_.__name__ for class_ in _classes.values()]
