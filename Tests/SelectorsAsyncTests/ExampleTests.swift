import AsyncExamples
import Foundation
import Selectors
import SelectorsAsync
import TestSupport
import Testing

/// The longer examples, over the loopback.
@Suite struct ExampleTests {
    @Test(arguments: [1, 2])
    func theEchoServerEchoesInEachThread(_ threads: Int) async throws {
        let server = try EchoServer(threads: threads)
        let runners = (0..<threads).map { index in
            Worker { try server.run(index, idle: .seconds(600)) }
        }
        let host = try Host("epoll")
        // It comes back as it was sent.
        let pages = await Fetcher(on: host.executor, timeout: .milliseconds(200))
            .fetch((0..<20).map { "/\($0)" }, port: server.port)
        // The server does not close, so each fetch has ended by its time limit.
        #expect(pages.count == 20)
        #expect(pages.values.allSatisfy { $0 == nil })
        server.stop()
        for runner in runners { try runner.join() }
        try host.end()
    }

    @Test func anIdleConnectionIsClosed() async throws {
        let server = try EchoServer(threads: 1)
        let runner = Worker { try server.run(0, idle: .seconds(2)) }
        let host = try Host("epoll")
        // Closed by the server when it was idle: then the page, which is the request, is whole.
        let fetcher = Fetcher(on: host.executor, timeout: .seconds(600))
        let paths = (0..<50).map { "/page\($0)" }
        let pages = await fetcher.fetch(paths, port: server.port)
        for path in paths {
            #expect(pages[path] == "GET \(path) HTTP/1.0\r\nHost: localhost\r\n\r\n")
        }
        #expect(await fetcher.received > 50 * 30)
        server.stop()
        try runner.join()
        try host.end()
    }
}
