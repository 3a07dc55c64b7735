// An echo server on the loopback, in one of the ways to wait that Swift has. It prints its port as
// "listening on 127.0.0.1:PORT" and serves until it is killed.
//
// SPDX-License-Identifier: Apache-2.0

import Glibc

let servers = [
    "select": serveBySelect, "tasks": serveByTasks, "actor": serveByActor,
    "continuations": serveByContinuations, "handlers": serveByHandlers,
    "channel": serveByAsyncChannel, "channel-hooked": serveByHookedAsyncChannel,
    "dispatch": serveByDispatch,
]
guard let name = CommandLine.arguments.dropFirst().first, let serve = servers[name] else {
    print("usage: async-server " + servers.keys.sorted().joined(separator: "|"))
    exit(2)
}
try serve()
while true { pause() }
