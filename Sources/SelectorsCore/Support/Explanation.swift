import CSelectorsPlatform
import CSelectors

/// The text of an error for `sel_last_error`, before the system's own text.
package enum Explanation {
    /// Records the message of an error, and returns the negative errno value for C.
    @inline(never)
    package static func fail(_ code: Int32, _ reason: StaticString) -> Int32 {
        let error = LastError.record(code) { words in
            words.append(reason)
            words.append(system: code)
        }
        return 0 &- error.code
    }

    /// Records the message of a failed call on a descriptor, and returns the value for C.
    @inline(never)
    package static func fail(_ error: SystemError, descriptor fd: Int32) -> Int32 {
        guard let reason = reason(error.code, fd) else { return fail(error) }
        LastError.record(error.code) { words in
            words.append(fd < 0 ? "descriptor -" : "descriptor ")
            words.append(fd.magnitude)
            words.append(reason)
            words.append(system: error.code)
        }
        return 0 &- error.code
    }

    /// Records the message of any failed call, and returns the negative errno value for C.
    @inline(never)
    package static func fail(_ error: SystemError) -> Int32 {
        switch error.code {
        case ECANCELED: fail(ECANCELED, "the selector was closed, or was in use at a fork")
        case EDEADLK: fail(EDEADLK, "called from a function of the selector's own backend")
        case EMFILE: fail(EMFILE, "RLIMIT_NOFILE allows no further descriptor")
        case ENFILE: fail(ENFILE, "/proc/sys/fs/file-max allows no further file")
        case EBADF: fail(EBADF, "a descriptor of the selector's own was closed")
        case EINVAL: fail(EINVAL, "RLIMIT_NOFILE is below the number of descriptors to wait for")
        default: 0 &- LastError.record(error).code
        }
    }

    /// Records the message of a failed `sel_open`, and returns the error.
    static func record(_ error: SystemError, opening reason: StaticString) -> SystemError {
        switch error.code {
        case EMFILE, ENFILE: _ = fail(error)
        case ECANCELED, ENOMEM, EPROTO: LastError.record(error)
        case _ where reason.utf8CodeUnitCount == 0: LastError.record(error)
        default: _ = fail(error.code, reason)
        }
        return error
    }

    private static func reason(_ code: Int32, _ fd: Int32) -> StaticString? {
        switch code {
        case EINVAL where fd < 0: " is negative"
        case EINVAL:
            ": events has no readiness bit, unknown bits, or bits that exclude one another"
        case ENOTSUP: ": the backend does not support all of events, see sel_capabilities()"
        case EBADF: " is not open, or was opened with O_PATH, or the selector's own was closed"
        case EEXIST:
            " is registered already: sel_modify() it, or sel_unregister() a file closed before"
        case ENOENT: " is not registered"
        case ELOOP:
            " is the selector's own, or a selector's that watches it, or too many watch one another"
        case ENOSPC: ": /proc/sys/fs/epoll/max_user_watches allows no further one"
        default: nil
        }
    }
}
