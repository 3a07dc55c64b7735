/*
 * guard.cpp - the library from C++: a handle that closes itself, and errors as exceptions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <selectors.h>

#include <cstdio>
#include <memory>
#include <system_error>
#include <unistd.h>

namespace {

struct Close {
    void operator()(sel_selector *selector) const noexcept {
        sel_close(selector);
    }
};

using Selector = std::unique_ptr<sel_selector, Close>;

// Passes on a count, or throws what went wrong.
int check(int result) {
    if (result < 0)
        throw std::system_error(-result, std::generic_category(), sel_last_error());
    return result;
}

Selector open_selector(const char *backend = nullptr) {
    sel_selector *selector;
    check(sel_open(&selector, backend));
    return Selector(selector);
}

} // namespace

int main() {
    try {
        int ends[2];
        if (pipe(ends) != 0)
            return 1;
        Selector selector = open_selector();
        check(sel_register(selector.get(), ends[0], SEL_READ, ends));
        if (write(ends[1], "x", 1) != 1)
            return 1;
        sel_event event;
        if (check(sel_select(selector.get(), &event, 1, SEL_FOREVER)) != 1 ||
            event.key.data != ends)
            return 1;
        std::printf("%s: descriptor %d is readable\n", sel_backend_name(selector.get()),
                    event.key.fd);
        open_selector("nonsense");
    } catch (const std::system_error &error) {
        std::printf("%s\n", error.what());
        return error.code() == std::errc::no_such_file_or_directory ? 0 : 1;
    }
    return 1;
}
