import Foundation
import Testing

/// The C programs, built and run against the library that this test build has made.
@Suite(.serialized) struct CProgramTests {
    @Test func theCTestsPass() throws {
        let result = try make("check")
        #expect(result.status == 0, "\(result.output)")
        // The last line of a TAP stream: something was really run.
        #expect(result.output.contains("ok 1 - "))
        #expect(!result.output.contains("not ok"))
    }

    @Test(arguments: ["epoll", "poll", "select"])
    func theEchoServerServesTheEchoClient(backend: String) throws {
        let result = try make("run", ["SELECTORS_BACKEND": backend])
        #expect(result.status == 0, "\(result.output)")
        #expect(result.output.contains("\(backend): 20000 messages over 100 connections, 0 errors"))
    }

    @Test func anUnknownBackendIsRefusedWithTheChoices() throws {
        let result = try make("run", ["SELECTORS_BACKEND": "nonsense"])
        #expect(result.status != 0)
        #expect(result.output.contains("SELECTORS_BACKEND=\"nonsense\""))
        #expect(result.output.contains("epoll, poll, select"))
    }

    /// Runs a target of the Makefile beside the C programs.
    private func make(
        _ target: String, _ environment: [String: String] = [:]
    ) throws -> (status: Int32, output: String) {
        let package = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.currentDirectoryURL = package.appending(path: "examples-c")
        let library = try libraryFolder()
        process.arguments =
            [
                "make", target, "SELECTORS_LIBDIR=\(library.path)",
                "BUILD=\(library.appending(path: "examples-c").path)",
            ] + sanitizerFlags
        process.environment = ProcessInfo.processInfo.environment
            .filter { !["SELECTORS_BACKEND", "MAKEFLAGS", "MAKELEVEL"].contains($0.key) }
            .merging(environment) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    /// Where this test build has put libselectors.so: beside the test program.
    private func libraryFolder() throws -> URL {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var folder = URL(filePath: program).deletingLastPathComponent()
        while folder.path != "/" {
            let library = folder.appending(path: "libselectors.so")
            if FileManager.default.fileExists(atPath: library.path) { return folder }
            folder.deleteLastPathComponent()
        }
        throw CocoaError(.fileNoSuchFile)
    }

    /// A library with a sanitizer in it needs programs with the same one: the toolchain's own, which
    /// finds Swift's Dispatch where the test program has found it. `allocations` is left out: it
    /// replaces malloc, as the sanitizers do.
    private var sanitizerFlags: [String] {
        for (symbol, name) in [("__tsan_init", "thread"), ("__asan_init", "address")]
        where dlsym(nil, symbol) != nil {
            let maps = FileHandle(forReadingAtPath: "/proc/self/maps")?.readDataToEndOfFile()
            let files = String(decoding: maps ?? Data(), as: UTF8.self).split(separator: "\n")
                .compactMap { $0.split(separator: " ").last }
            let dispatch = files.first { $0.hasSuffix("/libdispatch.so") } ?? "/"
            let runtime = URL(filePath: String(dispatch)).deletingLastPathComponent().path
            return [
                "CC=clang", "CFLAGS=-O1 -g -fsanitize=\(name)", "c_tests=conformance",
                "LDLIBS=-L\(runtime) -Wl,-rpath,\(runtime) -ldispatch -lBlocksRuntime",
            ]
        }
        return []
    }
}
