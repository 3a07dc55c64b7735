"""Tests selectors_native by Python's own test.test_selectors, with it in place of the module.

    SELECTORS_BACKEND=poll python3 run_test_selectors.py

Tests DefaultSelector and the class of the same backend. Fails when a test of Python's fails that is not
among DEVIATIONS, or one that is listed there passes. Debian has the tests in libpython3.11-testsuite.

SPDX-License-Identifier: Apache-2.0
"""

import asyncio
import errno
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import unittest
import unittest.mock

import selectors_native
from selectors_native import EVENT_READ, EVENT_WRITE, DefaultSelector

# Test: (what its failure says, why).
DEVIATIONS = {
    "EpollSelectorTestCase.test_register_file": (
        "OSError not raised",
        "regular files are ready on each backend, also where epoll refuses them",
    ),
    "EpollSelectorTestCase.test_modify_unregister": (
        "does not have the attribute '_selector_cls'",
        "looks into Python's class; a modify() that fails changes nothing here",
    ),
    "PollSelectorTestCase.test_modify_unregister": (
        "does not have the attribute '_selector_cls'",
        "as with epoll",
    ),
}


class Outcome(unittest.TextTestResult):
    """Puts the deviations aside, so that they count neither as passed nor as failed."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.deviations = set()

    @staticmethod
    def name(test):
        """What the test is called in DEVIATIONS, where DefaultSelector stands for another class."""
        selector = getattr(type(test), "SELECTOR", None)
        return f"{getattr(selector, '__name__', type(test).__name__)}TestCase.{test._testMethodName}"

    def is_deviation(self, test, error):
        words, _ = DEVIATIONS.get(self.name(test), (None, None))
        if words is None or words not in str(error[1]):
            return False
        self.deviations.add(self.name(test))
        return True

    def addFailure(self, test, error):
        if not self.is_deviation(test, error):
            super().addFailure(test, error)

    def addError(self, test, error):
        if not self.is_deviation(test, error):
            super().addError(test, error)

    def addSuccess(self, test):
        super().addSuccess(test)
        if self.name(test) in DEVIATIONS:
            super().addFailure(test, (AssertionError, AssertionError("deviates no longer"), None))


class BindingTest(unittest.TestCase):
    """What Python's tests do not ask for."""

    def setUp(self):
        self.selector = DefaultSelector()
        self.addCleanup(self.selector.close)
        self.reader, self.writer = socket.socketpair()
        self.addCleanup(self.reader.close)
        self.addCleanup(self.writer.close)

    def wait_in_threads(self, selector, count, ended):
        """Threads that select() until the test ends them; their results, or errors, go to ended."""
        entered = []
        select = selectors_native._select

        def counted_select(*arguments):
            entered.append(None)
            return select(*arguments)

        def wait():
            try:
                ended.append(selector.select())
            except ValueError as error:
                ended.append(str(error))

        threads = [threading.Thread(target=wait, daemon=True) for _ in range(count)]
        with unittest.mock.patch.object(selectors_native, "_select", counted_select):
            for thread in threads:
                thread.start()
            while len(entered) < count:
                time.sleep(0.001)
        return threads

    def join(self, threads):
        for thread in threads:
            thread.join(60)
            self.assertFalse(thread.is_alive())

    def test_errors_tell_the_descriptor(self):
        fd = os.dup(0)
        os.close(fd)
        with self.assertRaisesRegex(OSError, f"descriptor {fd} ") as caught:
            self.selector.register(fd, EVENT_READ)
        self.assertEqual(caught.exception.errno, errno.EBADF)
        self.selector.register(self.reader, EVENT_READ)
        with self.assertRaisesRegex(KeyError, f"descriptor {self.reader.fileno()} "):
            self.selector.register(self.reader, EVENT_READ)
        with self.assertRaisesRegex(KeyError, f"descriptor {self.writer.fileno()} "):
            self.selector.modify(self.writer, EVENT_READ)
        with self.assertRaises(ValueError):  # SEL_PRIORITY is none of Python's events
            self.selector.modify(self.reader, 4)

    def test_regular_file(self):
        with tempfile.TemporaryFile() as file:
            key = self.selector.register(file, EVENT_READ | EVENT_WRITE, "data")
            self.assertEqual(self.selector.select(), [(key, EVENT_READ | EVENT_WRITE)])

    def test_wait_allocates_no_array(self):
        for _ in range(1000):
            fd = os.dup(self.reader.fileno())
            self.addCleanup(os.close, fd)
            self.selector.register(fd, EVENT_READ)
        self.selector.select(0)
        gc.collect()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            self.assertEqual(self.selector.select(0), [])
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak - before, 1000)
        # The array had room for all of them, too.
        self.writer.send(b"x")
        self.assertEqual(len(self.selector.select()), 1000)

    def test_timeout_is_not_cut_short(self):
        start = time.monotonic()
        self.assertEqual(self.selector.select(0.0123456), [])
        self.assertGreaterEqual(time.monotonic() - start, 0.0123456)
        self.selector.register(self.writer, EVENT_WRITE)
        self.assertEqual(len(self.selector.select(1e12)), 1)

    def test_handler_raises_without_a_timeout(self):
        def handler(*_):
            raise ZeroDivisionError

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, handler))
        with self.assertRaises(ZeroDivisionError):
            try:
                # Again and again, lest the first comes before the wait.
                signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
                self.selector.select()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def test_signals_do_not_move_the_deadline(self):
        count = 0

        def handler(*_):
            nonlocal count
            count += 1

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, handler))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        start = time.monotonic()
        self.assertEqual(self.selector.select(0.3), [])
        self.assertTrue(0.3 <= time.monotonic() - start < 20)
        self.assertGreater(count, 0)

    def test_registration_reaches_a_wait_in_another_thread(self):
        ended = []
        threads = self.wait_in_threads(self.selector, 1, ended)
        key = self.selector.register(self.writer, EVENT_WRITE)
        self.join(threads)
        self.assertEqual(ended, [[(key, EVENT_WRITE)]])

    def test_wakeup(self):
        ended = []
        threads = self.wait_in_threads(self.selector, 1, ended)
        self.selector.wakeup()
        self.join(threads)
        self.assertEqual(ended, [[]])

    def test_close_ends_every_wait(self):
        for _ in range(20):
            ended = []
            selector = DefaultSelector()
            threads = self.wait_in_threads(selector, 4, ended)
            selector.close()
            self.join(threads)
            self.assertEqual(ended, ["Selector is closed"] * 4)
        with self.assertRaisesRegex(ValueError, "Selector is closed"):
            selector.select()

    def test_fork(self):
        self.selector.register(self.reader, EVENT_READ)
        child = os.fork()
        if child == 0:
            try:
                os._exit(len(self.selector.select(60)))
            finally:
                os._exit(99)
        self.writer.send(b"x")
        self.assertEqual(os.WEXITSTATUS(os.waitpid(child, 0)[1]), 1)

    def test_asyncio(self):
        async def talk():
            async def echo(reader, writer):
                writer.write(await reader.readline())
                writer.close()
                await writer.wait_closed()

            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            line = await reader.read()
            writer.close()
            await writer.wait_closed()
            server.close()
            return line

        loop = asyncio.SelectorEventLoop(DefaultSelector())
        try:
            self.assertEqual(loop.run_until_complete(talk()), b"hello\n")
        finally:
            loop.close()

    def test_unknown_backend_is_an_error_of_the_import(self):
        environment = dict(os.environ, SELECTORS_BACKEND="nonsense")
        result = subprocess.run(
            [sys.executable, "-c", "import selectors_native"],
            cwd=os.path.dirname(os.path.abspath(selectors_native.__file__)),
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, 'SELECTORS_BACKEND="nonsense".*available: ')


def main():
    sys.modules["selectors"] = selectors_native
    try:
        from test import test_selectors
    except ImportError as error:
        sys.exit(f"{error}: Python's own tests are not installed (Debian: libpython3.11-testsuite)")

    cases = [BindingTest]
    for case in vars(test_selectors).values():
        if isinstance(case, type) and getattr(case, "SELECTOR", None) is DefaultSelector:
            cases.append(case)
    loader = unittest.TestLoader()
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases)
    names = {Outcome.name(test) for case in suite for test in case}
    outcome = unittest.TextTestRunner(stream=sys.stdout, resultclass=Outcome).run(suite)

    for name in sorted(outcome.deviations):
        print(f"deviates: {name}: {DEVIATIONS[name][1]}")
    for test, reason in outcome.skipped:
        print(f"skipped: {test.id()}: {reason}")
    prefix = DefaultSelector.__name__ + "TestCase."
    unknown = [name for name in DEVIATIONS if name.startswith(prefix) and name not in names]
    for name in unknown:
        print(f"there is no such test: {name}")
    print(f"{DefaultSelector.__name__}: {outcome.testsRun} tests")
    return 0 if outcome.wasSuccessful() and not unknown and len(cases) > 1 else 1


if __name__ == "__main__":
    sys.exit(main())
