import CSelectorsPlatform

/// The words of each thread's last failure: what `sel_last_error` and the errors of Swift tell.
package enum LastError {
    /// Where a thread finds its words, or `nil` where the system had no more keys.
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return pthread_key_create(&key, { free($0) }) == 0 ? key : nil
    }()

    /// This thread's words; empty if nothing has failed yet.
    package static var text: UnsafePointer<CChar> {
        if let key, let text = pthread_getspecific(key) {
            return UnsafePointer(text.assumingMemoryBound(to: CChar.self))
        }
        return StaticString("").cString
    }

    /// Keeps the system's words for an error, and gives it back.
    @discardableResult
    package static func record(_ error: SystemError) -> SystemError {
        if error.code == EPROTO && isBreachTold { return error }
        return record(error.code) { $0.append(text: words(of: error.code)) }
    }

    /// The words for an errno value; good until this thread's next failure.
    static func words(of code: Int32) -> UnsafePointer<CChar> {
        guard code == EPROTO else { return UnsafePointer(strerror(code)) }
        return isBreachTold ? text : breach.cString
    }

    private static var breach: StaticString { "the backend has answered against the rules" }

    /// Whether the last words are those of ``recordBreach(by:_:_:)``, which tell more.
    private static var isBreachTold: Bool {
        strncmp(text, breach.cString, breach.utf8CodeUnitCount) == 0
    }

    /// Keeps what a backend's function has answered against the rules, and gives the error.
    static func recordBreach(
        by backend: UnsafePointer<CChar>, _ function: StaticString, _ answer: Int32
    ) -> SystemError {
        record(EPROTO) {
            $0.append(breach)
            $0.append(": ")
            $0.append(text: backend)
            $0.append(", ")
            $0.append(function)
            $0.append(answer < 0 ? "() = -" : "() = ")
            $0.append(answer.magnitude)
        }
    }

    /// Keeps words of one's own for an error, and gives the error.
    ///
    /// It leaves errno alone. Without memory there are no words, but the code still tells.
    static func record(_ code: Int32, _ write: (inout Words) -> Void) -> SystemError {
        let saved = platform_errno()
        if let key {
            var text = pthread_getspecific(key)
            if text == nil {
                text = platform_calloc(1, Words.size)
                if pthread_setspecific(key, text) != 0 {
                    free(text)
                    text = nil
                }
            }
            if let text {
                var words = Words(at: text.bindMemory(to: CChar.self, capacity: Words.size))
                write(&words)
            }
        }
        platform_set_errno(saved)
        return SystemError(code)
    }
}

/// A C text that is being written; what does not fit is left out.
///
/// The C library's own formatting would need varargs, which Swift cannot pass on without its
/// runtime.
struct Words: ~Copyable {
    /// The room for it, the final 0 included.
    static let size = 2048

    private let text: UnsafeMutablePointer<CChar>
    private var length = 0

    init(at text: UnsafeMutablePointer<CChar>) {
        self.text = text
        text[0] = 0
    }

    mutating func append(_ literal: StaticString) {
        append(text: literal.cString)
    }

    mutating func append(text other: UnsafePointer<CChar>) {
        var next = other
        while next.pointee != 0 {
            append(UInt8(bitPattern: next.pointee))
            next += 1
        }
    }

    /// Appends text from outside in quotation marks, on one line and not too long.
    mutating func append(quoting bytes: UnsafeRawBufferPointer, limit: Int = 64) {
        append("\"")
        for index in 0..<min(bytes.count, limit) {
            append(bytes[index] < 0x7F ? bytes[index] : UInt8(ascii: "?"))
        }
        append(bytes.count > limit ? "...\"" : "\"")
    }

    mutating func append(_ number: UInt32) {
        var unit: UInt32 = 1
        while number / unit >= 10 { unit *= 10 }
        while unit > 0 {
            append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / unit % 10))
            unit /= 10
        }
    }

    private mutating func append(_ byte: UInt8) {
        guard length < Words.size - 1 else { return }
        text[length] = CChar(bitPattern: Words.printable(byte))
        length += 1
        text[length] = 0
    }

    /// Whatever it is, it stays on one line.
    private static func printable(_ byte: UInt8) -> UInt8 {
        byte < 0x20 || byte == 0x7F ? UInt8(ascii: "?") : byte
    }

    /// A copy of a text, as one line, or `nil` without memory.
    static func copyLine(_ text: UnsafePointer<CChar>) -> UnsafeMutablePointer<CChar>? {
        guard let copy = platform_strdup(text) else { return nil }
        var next = copy
        while next.pointee != 0 {
            next.pointee = CChar(bitPattern: printable(UInt8(bitPattern: next.pointee)))
            next += 1
        }
        return copy
    }
}

extension StaticString {
    /// The text as C has it; it lives forever.
    package var cString: UnsafePointer<CChar> {
        UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
    }
}
