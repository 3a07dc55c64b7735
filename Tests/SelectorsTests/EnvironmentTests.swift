import CSelectors
import Foundation
import Selectors
import Testing

/// `SELECTORS_BACKEND`, and ranks that change the default.
///
/// Each test runs in a process of its own, so that nothing that reads the environment at the same
/// time, or opens the default, is disturbed.
@Suite struct EnvironmentTests {
    @Test func withoutTheVariableTheBestBackendIsUsed() async {
        await #expect(processExitsWith: .success) {
            unsetenv("SELECTORS_BACKEND")
            try #expect(DefaultSelector<Void>().backend == "epoll")
            try #expect(chosen(nil) == "epoll")
            try #expect(chosenByC(nil) == "epoll")
        }
    }

    @Test func theVariableChoosesTheDefault() async {
        await #expect(processExitsWith: .success) {
            for (list, backend) in [
                ("poll", "poll"), ("select,epoll", "select"), ("-epoll", "poll"),
                ("kqueue, select", "select"),
            ] {
                setenv("SELECTORS_BACKEND", list, 1)
                try #expect(DefaultSelector<Void>().backend == backend)
                try #expect(chosen(nil) == backend)
                try #expect(chosenByC(nil) == backend)
            }
        }
    }

    @Test func anEmptyVariableIsAsGoodAsNone() async {
        await #expect(processExitsWith: .success) {
            setenv("SELECTORS_BACKEND", "", 1)
            try #expect(DefaultSelector<Void>().backend == "epoll")
            try #expect(chosenByC(nil) == "epoll")
        }
    }

    @Test func theMessageNamesTheVariableTheWordAndTheChoices() async {
        await #expect(processExitsWith: .success) {
            for (list, errno, words) in [
                ("poll,nonsense", ENOENT, "there is no backend \"nonsense\""),
                (" ", EINVAL, "a name in the list is empty"),
                ("kqueue", ENOTSUP, "none of these is available"),
            ] {
                setenv("SELECTORS_BACKEND", list, 1)
                let (code, message) = try refusal(nil)
                #expect(code == errno)
                #expect(message.hasPrefix("SELECTORS_BACKEND=\"\(list)\": \(words); "))
                #expect(message.contains("available: epoll, poll, select"))
                var selector = OpaquePointer(bitPattern: 1)
                #expect(sel_open(&selector, nil) == -errno)
                #expect(selector == nil)
                #expect(String(cString: sel_last_error()) == message)
            }
        }
    }

    @Test func anArgumentBeatsTheVariable() async {
        await #expect(processExitsWith: .success) {
            for list in ["poll", "nonsense", ","] {
                setenv("SELECTORS_BACKEND", list, 1)
                try #expect(EpollSelector<Void>().backend == "epoll")
                try #expect(chosen("select") == "select")
                try #expect(chosen("-poll") == "epoll")
                try #expect(chosenByC("select") == "select")
                try #expect(refusal("wrong").message.hasPrefix("backend \"wrong\": "))
            }
        }
    }

    @Test func theVariableMayNameAnAddedBackend() async {
        await #expect(processExitsWith: .success) {
            let own = try OwnBackend()
            setenv("SELECTORS_BACKEND", "\(own.name),poll", 1)
            try #expect(DefaultSelector<Void>().backend == own.name)
            try #expect(chosenByC(nil) == own.name)
        }
    }

    @Test func theHighestRankThatCanBeUsedIsTheDefault() async {
        await #expect(processExitsWith: .success) {
            unsetenv("SELECTORS_BACKEND")
            _ = try OwnBackend(rank: 300)
            try #expect(chosen(nil) == "epoll")
            let best = try OwnBackend(rank: 301)
            try #expect(chosen(nil) == best.name)
            try #expect(chosen("-\(best.name)") == "epoll")
            let broken = try OwnBackend(rank: .max, makeFails: { _ in EACCES })
            try #expect(chosen(nil) == best.name)
            try #expect(chosenByC(nil) == best.name)
            #expect(
                SelectorRegistry.backends.prefix(3).map(\.name) == [
                    broken.name, best.name, "epoll",
                ])
        }
    }
}
