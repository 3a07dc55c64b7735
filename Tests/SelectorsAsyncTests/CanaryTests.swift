import Foundation
import Synchronization
import TestSupport
import Testing

/// Facts of Swift 6.3 that the module works around: when one of these tests fails, a workaround may
/// go.
@Suite struct CanaryTests {
    /// An executor with a thread that notes whether jobs come from that thread.
    private final class Recorder: SerialExecutor {
        private let jobs = Locked<[UnownedJob]>([])
        private let isReady = DispatchSemaphore(value: 0)
        private let thread = Atomic<UInt>(0)
        let fromItself = Flag()
        let fromElsewhere = Flag()

        func enqueue(_ job: consuming ExecutorJob) {
            let isOwn = thread.load(ordering: .acquiring) == UInt(pthread_self())
            (isOwn ? fromItself : fromElsewhere).set()
            let job = UnownedJob(job)
            jobs.withLock { $0.append(job) }
            isReady.signal()
        }

        func run(until isOver: Flag) {
            thread.store(UInt(pthread_self()), ordering: .releasing)
            while !isOver.isSet {
                isReady.wait()
                let job = jobs.withLock { $0.isEmpty ? nil : $0.removeFirst() }
                job?.runSynchronously(on: asUnownedSerialExecutor())
            }
        }

        func wake() {
            isReady.signal()
        }
    }

    private actor Resumer {
        private let recorder: Recorder
        private var waiting: CheckedContinuation<Void, Never>?
        nonisolated var unownedExecutor: UnownedSerialExecutor {
            recorder.asUnownedSerialExecutor()
        }

        init(_ recorder: Recorder) {
            self.recorder = recorder
        }

        func wait() async {
            await withTaskCancellationHandler {
                await withCheckedContinuation { waiting = $0 }
            } onCancel: {
            }
        }

        /// Resumes the one that waits, in the executor's thread; tells where its job came from.
        func resume() -> (fromItself: Int, fromElsewhere: Int)? {
            guard let waiting else { return nil }
            self.waiting = nil
            let before = (recorder.fromItself.count, recorder.fromElsewhere.count)
            waiting.resume()
            return before
        }
    }

    @Test func aContinuationOfAnActorIsResumedThroughTheGlobalExecutor() async throws {
        let recorder = Recorder()
        let isOver = Flag()
        let thread = Worker { recorder.run(until: isOver) }
        let resumer = Resumer(recorder)
        let waiter = Task.detached { await resumer.wait() }
        var before = await resumer.resume()
        while before == nil { before = await resumer.resume() }
        await waiter.value
        // Were it resumed in the actor's executor, its job would have come from that thread.
        #expect(recorder.fromItself.count == before?.fromItself)
        isOver.set()
        recorder.wake()
        try thread.join()
    }
}
