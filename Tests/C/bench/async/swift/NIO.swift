// SwiftNIO with one event loop: a handler in the channel's pipeline, or a task for each channel.
//
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

private final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }
}

func serveByHandlers() throws {
    let server = try ServerBootstrap(group: MultiThreadedEventLoopGroup(numberOfThreads: 1))
        .serverChannelOption(.backlog, value: 1024)
        .childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers(BackPressureHandler(), Echo())
            }
        }
        .bind(host: "127.0.0.1", port: 0).wait()
    announce(port: server.localAddress!.port!)
}

func serveByAsyncChannel() {
    NIOSingletons.groupLoopCountSuggestion = 1
    Task { try await serveChannels() }
}

/// Tasks then run in the event loop instead of Swift's pool of threads.
func serveByHookedAsyncChannel() {
    NIOSingletons.groupLoopCountSuggestion = 1
    let isHooked =
        NIOSingletons.unsafeTryInstallSingletonPosixEventLoopGroupAsConcurrencyGlobalExecutor()
    precondition(isHooked, "this Swift does not let SwiftNIO run its tasks")
    Task { try await serveChannels() }
}

private func serveChannels() async throws {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .serverChannelOption(.backlog, value: 1024)
        .bind(host: "127.0.0.1", port: 0) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    announce(port: server.channel.localAddress!.port!)
    try await withThrowingDiscardingTaskGroup { group in
        try await server.executeThenClose { clients in
            for try await client in clients {
                group.addTask {
                    try? await client.executeThenClose { requests, answers in
                        for try await request in requests { try await answers.write(request) }
                    }
                }
            }
        }
    }
}
