"""CPython's selectors, as a contestant of the benchmark; it speaks as workloads/compete.c does.

    cpython.py BACKEND WORKLOAD REGISTERED READY

SPDX-License-Identifier: Apache-2.0
"""

import os
import resource
import selectors
import signal
import sys
import time
import tracemalloc

READ, BOTH = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE
PATIENCE = 60  # s that a round may take, before it hangs


class Set:
    """Registers eventfds of which the first ones are ready, and stay so."""

    def __init__(self, selector, registered, ready):
        self.selector, self.ready = selector, ready
        self.files = [self.make(index < ready) for index in range(registered)]
        self.changing = self.make(False)
        # Only here, for it makes all else slower.
        if sys.argv[2] == "bytes":
            tracemalloc.start()
        for index, file in enumerate(self.files):
            selector.register(file, READ, index)
        if ready:
            selector.select()
        if sys.argv[2] == "bytes":
            self.size = tracemalloc.get_traced_memory()[0]

    @staticmethod
    def make(ready):
        return os.eventfd(int(ready), os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def dispatch(self, loops):
        seen = 0
        while seen < loops * self.ready:
            for key, events in self.selector.select():
                assert key.data < self.ready and events == READ
                seen += 1
        return seen / self.ready

    def register(self, loops):
        for _ in range(loops):
            self.selector.register(self.changing, READ)
            self.selector.unregister(self.changing)
        return loops

    def register_wait(self, loops):
        for _ in range(loops):
            self.selector.register(self.changing, READ)
            self.selector.select()
            self.selector.unregister(self.changing)
            self.selector.select()
        return loops

    def modify(self, loops):
        for loop in range(loops):
            index = loop % len(self.files)
            self.selector.modify(self.files[index], READ, index)
        return loops

    def toggle(self, loops):
        for _ in range(loops):
            for index in range(100):
                self.selector.modify(self.files[index], BOTH, index)
                self.selector.modify(self.files[index], READ, index)
            self.selector.select()
        return loops

    def bytes(self, loops):
        return len(self.files)


class Ring:
    """Tokens that go round through pipes."""

    def __init__(self, selector, registered, ready):
        self.selector = selector
        self.pipes = [os.pipe() for _ in range(registered)]
        for index, (end, _) in enumerate(self.pipes):
            selector.register(end, READ, index)
        for token in range(ready):
            os.write(self.pipes[token * registered // ready][1], b"t")

    def ring(self, loops):
        seen = 0
        while seen < loops:
            for key, _ in self.selector.select():
                os.write(self.pipes[(key.data + 1) % len(self.pipes)][1], os.read(key.fd, 1))
                seen += 1
        return seen


def context_switches():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw


def say(line):
    print(line, flush=True)


def main():
    backend, workload, registered, ready = sys.argv[1:3] + [int(number) for number in sys.argv[3:5]]
    kind = Ring if workload == "ring" else Set
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if not hasattr(kind, workload):
        return say("- not written for Python")
    if not hasattr(os, "eventfd"):
        return say("- Python is older than 3.10")
    if hard != resource.RLIM_INFINITY and hard < 2 * registered + 64:
        return say("- the limit of open files (ulimit -Hn) is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = getattr(selectors, backend)()
    subject = kind(selector, registered, ready)
    run = getattr(subject, workload)
    say("ready")
    for line in sys.stdin:
        signal.alarm(PATIENCE)
        switches = context_switches()
        began = time.process_time_ns()
        operations = run(int(line))
        total = time.process_time_ns() - began
        switches = context_switches() - switches
        signal.alarm(0)
        say(f"{subject.size if workload == 'bytes' else total} {operations} 0 {switches}")


main()
